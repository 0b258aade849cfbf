/*
 * Reset on a Cortex-M, for newlib with semihosting (--specs=rdimon.specs): the float unit on, then
 * newlib's own start-up, which clears .bss and calls main. A real board has all this already.
 */
#include <stdint.h>

extern uint32_t stack_top;
void _start(void);

void reset(void);
void fault(void);

void reset(void)
{
#if defined(__ARM_FP)
    volatile uint32_t *cpacr = (volatile uint32_t *)0xE000ED88;
    *cpacr |= 0xFu << 20;
    __asm volatile("dsb\n\tisb");
#endif
    _start();
}

/* Semihosting's SYS_EXIT_EXTENDED with a code that nothing else uses. */
void fault(void)
{
    static const uint32_t block[2] = {0x20026, 102};
    register uint32_t operation __asm("r0") = 0x20;
    register const uint32_t *argument __asm("r1") = block;
    __asm volatile("bkpt 0xAB" : : "r"(operation), "r"(argument) : "memory");
    for (;;)
        ;
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    &stack_top, reset, fault, fault, fault, fault, fault,
};
