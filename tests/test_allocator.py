"""runtime/allocator.py"""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, sys
from tandem.runtime.allocator import keep_freed_memory

class Usage(ctypes.Structure):  # mallinfo2(3): field 3 counts the blocks that are mappings of their own
    _fields_ = [(f"field{i}", ctypes.c_size_t) for i in range(10)]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Usage
if sys.argv[1] == "keep":
    keep_freed_memory()
before = libc.mallinfo2().field3
block = b"x" * 64 * 2**20
print(libc.mallinfo2().field3 - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is set up")
@pytest.mark.parametrize(("how", "mapped"), [("keep", 0), ("as glibc starts", 1)])
def test_a_large_block_is_no_mapping_of_its_own_so_that_it_is_used_again(how, mapped):
    env = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], check=True, capture_output=True, env=env)
    assert int(done.stdout) == mapped
