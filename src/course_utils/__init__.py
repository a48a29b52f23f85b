"""The small package that the chapters share.

Importing it imports neither TensorFlow nor PyTorch. Take the half you need:
`from course_utils import tf` or `from course_utils import pt`.
"""

__version__ = "0.1.0"
