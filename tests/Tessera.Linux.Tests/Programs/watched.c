// A small program to look at with a debugger: a function, and a variable that changes five times.
#include <stdio.h>

volatile int counter;

__attribute__((noinline)) int twice(int n)
{
    __asm__ volatile("");
    return n * 2;
}

int main(void)
{
    for (int i = 1; i <= 5; i++)
        counter += twice(i);
    printf("counter %d\n", counter);
    return 0;
}
