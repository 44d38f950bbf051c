"""runtime/allocator.py"""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from tandem.runtime.allocator import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
size = 64 * 2**20
b"x" * size
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    b"x" * size
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is set up")
def test_a_freed_block_is_used_again_without_new_pages():
    def new_pages(how: str) -> int:
        return int(subprocess.run([sys.executable, "-c", PROGRAM, how], check=True, capture_output=True).stdout)

    assert new_pages("keep") < 100 < new_pages("as glibc starts")
