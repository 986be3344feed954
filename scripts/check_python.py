"""Refuse a Python that the pins are not for, or that cannot make environments. Runs in every Python since 2.7."""

import platform
import sys
import sysconfig

FIRST, LAST = (3, 11), (3, 13)  # as requires-python in pyproject.toml

HERE = tuple(sys.version_info[:2])
NAME = "%d.%d" % HERE
FAULT = ""
if not FIRST <= HERE <= LAST:
    FAULT = "is too %s: the libraries are pinned for %d.%d to %d.%d" % ((("old", "new")[HERE > LAST],) + FIRST + LAST)
elif platform.python_implementation() != "CPython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
    FAULT = "is not the usual CPython, which the libraries are built for"
if FAULT:
    FAULT += "; install another and name it, for example: make reproduce PYTHON=python3.12"
else:
    try:
        import ensurepip
        import venv

        ensurepip.version()
        venv.EnvBuilder()
    except Exception:  # Debian leaves out one, or what the other needs
        FAULT = "cannot make environments, since it lacks venv; on Debian and Ubuntu: apt install python%s-venv" % NAME
if FAULT:
    sys.exit("Python %s (%s) %s" % (NAME, sys.executable, FAULT))
