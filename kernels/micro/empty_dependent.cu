// Changes empty.cu: programmatic dependent launch. A kernel may start while the one before it ends.
//
// Each kernel first says that the next may be set up (`launch_dependents`) and then waits for the one before (`wait`): what remains
// between two kernels is that wait, not the launch. Prediction: of the 1.3 us between kernels of a graph about 0.6 remain; on a
// stream the host's 2.1 us a launch stay as they are.
//@ entry: empty_dependent
//@ arch: sm_90a sm_100a
//@ threads: 32
//@ grid: 1
//@ args: count RUN
//@ pdl: yes
//@ expect: sm_90a EXIT>=1 ACQBULK>=1

#include "micro.h"

KERNEL void empty_dependent(GLOBAL(unsigned) count, int RUN) {
    asm volatile("griddepcontrol.launch_dependents;" : : : "memory");
    asm volatile("griddepcontrol.wait;" : : : "memory");
    if (RUN != 0 && threadIdx.x == 0) atomicAdd(count, 1);
}
