// Tables and formulas that are wider than the page scroll; let the keyboard reach them too.
function reachable() {
  const wide = ".pst-scrollable-table-container, div.math";
  for (const box of document.querySelectorAll(wide)) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}
window.addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  reachable();
});
window.addEventListener("resize", reachable);
