// Fibers: one stack and one set of registers a thread of the emulated block, all within one thread of the host.
//
// A fiber runs until it waits at a barrier or ends; then the scheduler resumes another. A switch saves the six registers that a
// called function must keep and exchanges the stack pointers: some 2 ns, where ucontext makes a system call for the signal mask.
#pragma once

#include <cstddef>
#include <cstdint>
#include <sys/mman.h>
#include <unistd.h>
#if !defined(__x86_64__) || !defined(__linux__) || defined(EMULATION_UCONTEXT)
#define EMULATION_USES_UCONTEXT
#include <ucontext.h>
#endif

#ifndef EMULATION_USES_UCONTEXT
extern "C" __attribute__((visibility("hidden"))) void emulation_switch(void** save, void* resume);
asm(".pushsection .text\n"
    ".type emulation_switch, @function\n"
    "emulation_switch:\n"
    "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
    "  movq %rsp, (%rdi)\n"
    "  movq %rsi, %rsp\n"
    "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
    "  ret\n"
    ".size emulation_switch, .-emulation_switch\n"
    ".popsection\n");
#endif

namespace emulation {

#ifndef EMULATION_USES_UCONTEXT
struct Context {
    void* stack_pointer = nullptr;
};

static inline void prepare(Context& context, char* stack, size_t size, void (*entry)()) {
    // As if `entry` had been called from an address 0 and had then saved six registers: `ret` of the switch enters it, with the
    // stack aligned as the calling convention has it (8 beyond a multiple of 16).
    void** top = reinterpret_cast<void**>(stack + size);
    *--top = nullptr;
    *--top = reinterpret_cast<void*>(entry);
    for (int saved = 0; saved < 6; ++saved) *--top = nullptr;
    context.stack_pointer = top;
}

static inline void resume(Context& from, Context& to) {
    emulation_switch(&from.stack_pointer, to.stack_pointer);
    asm volatile("" ::: "memory");  // whatever the compiler knew of memory, another fiber may have changed
}
#else
struct Context {
    ucontext_t context;
};

static inline void prepare(Context& context, char* stack, size_t size, void (*entry)()) {
    getcontext(&context.context);
    context.context.uc_stack.ss_sp = stack;
    context.context.uc_stack.ss_size = size;
    context.context.uc_link = nullptr;
    makecontext(&context.context, entry, 0);
}

static inline void resume(Context& from, Context& to) {
    swapcontext(&from.context, &to.context);
    asm volatile("" ::: "memory");
}
#endif

// Stacks of all fibers of a block, each above a page that may not be touched: a kernel that needs more than a stack stops the
// process at once and overwrites nothing. Pages take memory only once they are used.
class Stacks {
  public:
    static constexpr size_t SIZE = 128 * 1024;

    explicit Stacks(size_t fibers) : bytes(fibers * SIZE) {
        void* found = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (found == MAP_FAILED) return;
        memory = static_cast<char*>(found);
        guard = static_cast<size_t>(sysconf(_SC_PAGESIZE));
        for (size_t fiber = 0; fiber < fibers; ++fiber) mprotect(memory + fiber * SIZE, guard, PROT_NONE);
    }
    ~Stacks() {
        if (memory) munmap(memory, bytes);
    }
    Stacks(const Stacks&) = delete;
    Stacks& operator=(const Stacks&) = delete;

    bool valid() const { return memory != nullptr; }
    char* of(size_t fiber) const { return memory + fiber * SIZE + guard; }
    size_t size() const { return SIZE - guard; }

  private:
    char* memory = nullptr;
    size_t bytes, guard = 0;
};

}  // namespace emulation
