// What a launch costs: a kernel that does nothing, alone and in a row.
//
// Predictions: a launch and the wait for it take 6 us by the host's clock. In a row on a stream the host needs about 2.1 us a launch,
// and the GPU keeps pace; in a graph the GPU alone sets the pace, 1.3 us a kernel, since each waits for the one before to end and
// for its memory to be seen. So 300 kernels a token are 0.4 ms in a graph: a tenth of a decode step of 4 ms.
//@ entry: empty
//@ arch: sm_80 sm_90a sm_100a
//@ threads: 32
//@ grid: 1
//@ args: count RUN
//@ expect: sm_90a EXIT>=1

#include "micro.h"

// Counts the launches if RUN is not zero: how the host sees that they all ran. It is zero while time is taken.
KERNEL void empty(GLOBAL(unsigned) count, int RUN) {
    if (RUN != 0 && threadIdx.x == 0) atomicAdd(count, 1);
}
