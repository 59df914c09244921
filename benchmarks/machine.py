"""What the machine can do."""

from __future__ import annotations

import ctypes
import os
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import llvmlite.binding as llvm

CHAINS = 16  # of multiply-adds that do not wait for one another: enough to hide their latency
WIDTH = 16  # float32 values of a vector; the compiler splits it where the machine's are narrower
ROUNDS = 20_000_000


def processor() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def cores_used(threads: int) -> str:
    """Say how many of the cores are used."""
    return f"{threads} threads on {len(os.sched_getaffinity(0))} cores"


def _loop() -> str:
    """Write a loop of fused multiply-adds on registers alone, in LLVM's language."""
    vector = f"<{WIDTH} x float>"
    seed = ", ".join(["float 1.0"] * WIDTH)
    factor = ", ".join(["float 0.5"] * WIDTH)
    phis = "\n".join(f"  %a{i} = phi {vector} [ <{seed}>, %entry ], [ %b{i}, %loop ]" for i in range(CHAINS))
    steps = "\n".join(
        f"  %b{i} = call {vector} @llvm.fma.v{WIDTH}f32({vector} %a{i}, {vector} <{factor}>, {vector} <{seed}>)"
        for i in range(CHAINS)
    )
    sums = "\n".join(f"  %s{i} = fadd {vector} {f'%s{i - 1}' if i else f'<{seed}>'}, %b{i}" for i in range(CHAINS))
    return f"""
declare {vector} @llvm.fma.v{WIDTH}f32({vector}, {vector}, {vector})
define float @work(i64 %rounds) {{
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
{phis}
{steps}
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %rounds
  br i1 %more, label %loop, label %exit
exit:
{sums}
  %one = extractelement {vector} %s{CHAINS - 1}, i32 0
  ret float %one
}}"""


def fma_peak(threads: int) -> float:
    """Return the greatest rate of float32 multiply-adds that was reached [GFLOP/s]."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3
    )
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(_loop()), target)
    engine.finalize_object()
    # ctypes lets other threads run during the call
    work = ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_int64)(engine.get_function_address("work"))
    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(5):
            start = time.perf_counter()
            for done in [pool.submit(work, ROUNDS) for _ in range(threads)]:
                done.result()
            rate = threads * ROUNDS * CHAINS * WIDTH * 2 / (time.perf_counter() - start) / 1e9
            best = max(best, rate)
    return best
