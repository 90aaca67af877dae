using Iced.Intel;
using Tmds.Linux;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Engine.Software.Tests;

/// <summary>Runs code on the host's processor itself: loads registers and flags, runs it, stores them. What the engine must do the same as.</summary>
internal sealed unsafe class NativeRunner : IDisposable
{
    // SAFETY: one mapping, code in its first pages and data behind; the code that runs reaches nothing else but the buffer whose address the caller put into a register.
    private const int CodeBytes = 8192;
    private const int DataBytes = 4096;
    private const int ReadWrite = 3;
    private const int ReadExecute = 5;

    /// <summary>MAP_PRIVATE, MAP_ANONYMOUS, MAP_32BIT: below 2 GiB, so that instructions can name addresses without a register.</summary>
    private const int Where = 0x62;
    private readonly byte* _memory;

    public NativeRunner()
    {
        _memory = (byte*)LibC.mmap(null, CodeBytes + DataBytes, ReadWrite, Where, -1, 0);
        Assert.That((nint)_memory, Is.Not.EqualTo((nint)(-1)));
    }

    /// <summary>Registers in the order of <see cref="Order"/>, then the flags: in and out.</summary>
    public Span<ulong> State => new(_memory + CodeBytes, Order.Length + 1);

    /// <summary>RSP stays the host's.</summary>
    public static ReadOnlySpan<AssemblerRegister64> Order => new AssemblerRegister64[] { rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15 };

    public void Run(ReadOnlySpan<byte> body)
    {
        const int FirstSaved = 40;
        AssemblerRegister64[] saved = [rbx, rbp, r12, r13, r14, r15];
        ulong data = (ulong)_memory + CodeBytes;
        ulong flags = data + ((ulong)Order.Length * 8);
        Assembler code = new(64);
        for (int index = 0; index < saved.Length; index++)
            code.mov(At(data, FirstSaved + index), saved[index]);
        code.push(__qword_ptr[(long)flags]);
        code.popfq();
        for (int index = 0; index < Order.Length; index++)
            code.mov(Order[index], At(data, index));
        code.db(body.ToArray());
        for (int index = 0; index < Order.Length; index++)
            code.mov(At(data, index), Order[index]);
        code.pushfq();
        code.pop(__qword_ptr[(long)flags]);
        code.cld();
        for (int index = 0; index < saved.Length; index++)
            code.mov(saved[index], At(data, FirstSaved + index));
        code.vzeroupper();
        code.ret();
        using MemoryStream stream = new();
        code.Assemble(new StreamCodeWriter(stream), (ulong)_memory);
        Assert.That(LibC.mprotect(_memory, CodeBytes, ReadWrite), Is.Zero);
        stream.ToArray().CopyTo(new Span<byte>(_memory, CodeBytes));
        Assert.That(LibC.mprotect(_memory, CodeBytes, ReadExecute), Is.Zero);
        ((delegate* unmanaged<void>)_memory)();
    }

    public void Dispose() => _ = LibC.munmap(_memory, CodeBytes + DataBytes);

    private static AssemblerMemoryOperand At(ulong data, int index) => __qword_ptr[(long)data + (index * 8)];
}
