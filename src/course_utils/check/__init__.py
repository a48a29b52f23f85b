"""Checkers of the exercises: `check.<exercise>(your_function)` prints a verdict.

One module for each chapter. A checker returns True for a right answer, and names the
first mistake of a wrong one. None of them imports TensorFlow or PyTorch.
"""

from course_utils.check.ch01 import *
from course_utils.check.ch02 import *
from course_utils.check.ch03 import *
from course_utils.check.ch04 import *
from course_utils.check.ch05 import *
from course_utils.check.ch06 import *
from course_utils.check.ch07 import *
from course_utils.check.ch08 import *
from course_utils.check.ch09 import *
from course_utils.check.ch10 import *
from course_utils.check.ch11 import *
from course_utils.check.ch12 import *
from course_utils.check.ch13 import *
from course_utils.check.ch14 import *
from course_utils.check.ch15 import *
