using System.Diagnostics;
using System.Runtime.InteropServices;
using Iced.Intel;
using Tessera.Sdk.Conformance.Cpu;
using Tmds.Linux;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Engine.Software.Tests;

/// <summary>
/// A process of its own that runs code on the host's processor, many times in a row with other registers and memory, each until it ends or a signal ends it, and says where and with
/// what registers. Code and data lie where <see cref="EngineGuest"/> has them; both are memory that this process shares, as are the operands and the outcomes. It is a small program
/// without a library, assembled here: a fault costs nobody anything.
/// </summary>
[System.Runtime.Versioning.SupportedOSPlatform("linux")]
internal sealed unsafe class NativeChild : IDisposable
{
    // SAFETY: pointers are into the one mapping, whose parts do not overlap; numbers of sets are checked.

    /// <summary>Sets of operands in one go.</summary>
    public const int Sets = 64;
    public const int CodeBytes = 512;

    /// <summary>RAX, RBX, RCX, RDX, RSI, RDI, RSP, RBP, R8 to R15, RIP, RFLAGS: as <see cref="Sdk.Cpu.X64.GuestCpuState"/> has them.</summary>
    public const int Words = 18;

    /// <summary>Where <see cref="Outcome"/> has the exception, its error code and CR2.</summary>
    public const int Vector = 18;
    public const int ErrorCode = 19;
    public const int Address = 20;

    /// <summary>
    /// Where code jumps when it is at its end. The guest has `hlt` there, and this process the way out; the outcome is that of `hlt`. No sum of two powers of two, so that
    /// nothing reads these bytes, which differ.
    /// </summary>
    public const ulong End = EngineGuest.Code + 0x2a5c;
    public const byte Hlt = 0xf4;

    /// <summary>XSAVE's area with x87, SSE and AVX.</summary>
    public const int VectorBytes = 832;

    private const int PageBytes = 4096;
    private const int CodePages = 4;
    private const int CodeAt = 0;
    private const int DataAt = CodePages * PageBytes;
    private const int CountAt = DataAt + (OracleMemory.DataPages * PageBytes);
    private const int SetsAt = CountAt + PageBytes;
    private const int OutAt = 0x100;
    private const int WindowInAt = 0x200;
    private const int WindowOutAt = WindowInAt + OracleMemory.WindowBytes;
    private const int VectorsAt = WindowOutAt + OracleMemory.WindowBytes;
    private const int SetBytes = VectorsAt + 0x380;
    private const int SharedBytes = SetsAt + (Sets * SetBytes);

    /// <summary>Far from whatever registers of few bits or of 32 point at: the guest has nothing there.</summary>
    private const ulong Program = 0x5c5a_3b6d_5000;
    private const ulong Shared = 0x4b39_2ab3_5000;
    private const int ProgramBytes = 0x10000;
    private const int Scratch = 0x4100;
    private const int AlternateStack = 0x8000;
    private const int AlternateStackBytes = 0x6000;
    private const int OwnStack = 0xff00;
    private const int SysMemoryFile = 319;
    private const int FloatingInContext = 40 + (23 * 8);

    /// <summary>Registers of a signal's context by this file's order.</summary>
    private static readonly int[] ContextPlaces = [13, 11, 14, 12, 9, 8, 15, 10, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17];
    private static readonly AssemblerRegister64[] Order = [rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15];

    private readonly string _file = Path.GetTempFileName();
    private readonly Process _process;
    private readonly int _shared;
    private readonly byte* _memory;
    private ulong _wayOut;
    private bool _runs;

    public NativeChild()
    {
        fixed (byte* name = "oracle\0"u8)
            _shared = (int)LibC.syscall(SysMemoryFile, name, 0);
        Assert.That(_shared, Is.Not.Negative);
        Assert.That(LibC.ftruncate(_shared, SharedBytes), Is.Zero);
        _memory = (byte*)LibC.mmap(null, SharedBytes, 3, 1, _shared, 0);
        Assert.That((nint)_memory, Is.Not.EqualTo((nint)(-1)));
        File.WriteAllBytes(_file, Elf());
        File.SetUnixFileMode(_file, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        _process = Process.Start(new ProcessStartInfo(_file) { RedirectStandardInput = true, RedirectStandardOutput = true })!;
    }

    /// <summary>The process's data, all of it.</summary>
    public Span<byte> Data => new(_memory + DataAt, OracleMemory.DataPages * PageBytes);

    /// <summary>A set's registers.</summary>
    public Span<ulong> Registers(int set) => new(Set(set), Words);

    /// <summary>A set's memory before.</summary>
    public Span<byte> WindowIn(int set) => new(Set(set) + WindowInAt, OracleMemory.WindowBytes);

    /// <summary>Its registers after it, and how it ended.</summary>
    public ReadOnlySpan<ulong> Outcome(int set) => new(Set(set) + OutAt, Address + 1);

    /// <summary>Its memory after it.</summary>
    public ReadOnlySpan<byte> WindowOut(int set) => new(Set(set) + WindowOutAt, OracleMemory.WindowBytes);

    /// <summary>Vector registers after it, as the processor saves them, where it ended with an exception.</summary>
    public ReadOnlySpan<byte> Vectors(int set) => new(Set(set) + VectorsAt, VectorBytes);

    /// <summary>Takes other code, which nobody may write; data is zero from here on.</summary>
    public void Load(ReadOnlySpan<byte> code)
    {
        Span<byte> all = new(_memory + CodeAt, CodePages * PageBytes);
        all.Fill(Hlt);
        code.CopyTo(all);
        ReadOnlySpan<byte> wayOut = [0xff, 0x25, 0, 0, 0, 0, .. BitConverter.GetBytes(_wayOut)];
        wayOut.CopyTo(all[(int)(End - EngineGuest.Code)..]);
        Data.Clear();
    }

    /// <summary>Begins to run it with the first sets.</summary>
    public void Begin(int sets)
    {
        Assert.That(_runs, Is.False);
        *(int*)(_memory + CountAt) = sets;
        _runs = true;
        _process.StandardInput.BaseStream.WriteByte(1);
        _process.StandardInput.BaseStream.Flush();
    }

    /// <summary>Waits until all of them ran.</summary>
    public void Await()
    {
        Assert.That(_process.StandardOutput.BaseStream.ReadByte(), Is.GreaterThanOrEqualTo(0), "the process that runs code on the host ended");
        _runs = false;
    }

    public void Dispose()
    {
        _process.StandardInput.Close();
        if (!_process.WaitForExit(10_000))
            _process.Kill();
        _process.Dispose();
        File.Delete(_file);
        _ = LibC.munmap(_memory, SharedBytes);
        _ = LibC.close(_shared);
    }

    private byte* Set(int set)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)set, (uint)Sets);
        return _memory + SetsAt + (set * SetBytes);
    }

    private byte[] Elf()
    {
        const int HeaderBytes = 64 + 56;
        byte[] code = Assemble(Program + HeaderBytes);
        byte[] file = new byte[HeaderBytes + code.Length];
        using BinaryWriter writer = new(new MemoryStream(file));
        writer.Write([0x7f, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        writer.Write((ushort)2); // executable
        writer.Write((ushort)62); // x86-64
        writer.Write(1);
        writer.Write(Program + HeaderBytes);
        writer.Write(64L);
        writer.Write(0L);
        writer.Write(0);
        foreach (ushort word in (ushort[])[64, 56, 1, 0, 0, 0])
            writer.Write(word);
        writer.Write(1); // load
        writer.Write(7); // all rights
        writer.Write(0L);
        writer.Write(Program);
        writer.Write(Program);
        writer.Write((long)file.Length);
        writer.Write((long)ProgramBytes);
        writer.Write(0x1000L);
        writer.Flush();
        code.CopyTo(file, HeaderBytes);
        return file;
    }

    private byte[] Assemble(ulong origin)
    {
        Assembler code = new(64);
        Label loop = code.CreateLabel();
        Label next = code.CreateLabel();
        Label handler = code.CreateLabel();
        Label finish = code.CreateLabel();
        Label store = code.CreateLabel();
        Label leave = code.CreateLabel();
        Label cursor = code.CreateLabel(), left = code.CreateLabel(), mxcsr = code.CreateLabel(), start = code.CreateLabel(), savedRbx = code.CreateLabel(), savedRsp = code.CreateLabel();
        Prepare(code, handler);

        code.Label(ref loop);
        code.mov(rsp, Program + OwnStack);
        Call(code, 0, 0, (long)Program + Scratch, 1);
        code.test(rax, rax);
        code.jle(leave);
        code.mov(rax, Shared + SetsAt);
        code.mov(__qword_ptr[cursor], rax);
        code.mov(eax, __dword_ptr[rax - (SetsAt - CountAt)]);
        code.mov(__qword_ptr[left], rax);

        code.Label(ref next);
        code.mov(rsp, Program + OwnStack);
        code.mov(rbx, __qword_ptr[cursor]);
        code.lea(rsi, __[rbx + WindowInAt]);
        code.mov(rdi, OracleMemory.Window);
        Copy(code);
        code.vzeroall();
        code.fninit();
        code.ldmxcsr(__dword_ptr[mxcsr]);
        code.push(__qword_ptr[rbx + ((Words - 1) * 8)]);
        code.popfq();
        for (int register = 0; register < Order.Length; register++)
        {
            if (Order[register] != rbx)
                code.mov(Order[register], __qword_ptr[rbx + (register * 8)]);
        }

        code.mov(rbx, __qword_ptr[rbx + 8]);
        code.jmp(__qword_ptr[start]);

        // The code came to its end: as if it had met `hlt`.
        code.Label(ref finish);
        code.mov(__qword_ptr[savedRbx], rbx);
        code.mov(__qword_ptr[savedRsp], rsp);
        code.mov(rbx, __qword_ptr[cursor]);
        for (int register = 0; register < Order.Length; register++)
            code.mov(Out(register), Order[register]);
        code.mov(rsp, Program + OwnStack);
        code.pushfq();
        code.pop(Out(Words - 1));
        code.mov(rax, __qword_ptr[savedRbx]);
        code.mov(Out(1), rax);
        code.mov(rax, __qword_ptr[savedRsp]);
        code.mov(Out(6), rax);
        code.mov(rax, End);
        code.mov(Out(Words - 2), rax);
        code.mov(Out(Vector), 13);
        code.mov(Out(ErrorCode), 0);
        code.mov(Out(Address), 0);
        code.jmp(store);

        code.Label(ref handler);
        code.mov(rbx, __qword_ptr[cursor]);
        for (int word = 0; word < Words + 3; word++)
        {
            int place = word switch { < Words => ContextPlaces[word], Vector => 20, ErrorCode => 19, _ => 22 };
            code.mov(rax, __qword_ptr[rdx + 40 + (place * 8)]);
            code.mov(Out(word), rax);
        }

        code.mov(rsi, __qword_ptr[rdx + FloatingInContext]);
        code.lea(rdi, __[rbx + VectorsAt]);
        code.mov(ecx, VectorBytes);
        code.rep.movsb();

        code.Label(ref store);
        code.cld();
        code.mov(rsi, OracleMemory.Window);
        code.lea(rdi, __[rbx + WindowOutAt]);
        Copy(code);
        code.add(__qword_ptr[cursor], SetBytes);
        code.dec(__qword_ptr[left]);
        code.jne(next);
        Call(code, 1, 1, (long)Program + Scratch, 1);
        code.jmp(loop);

        code.Label(ref leave);
        Call(code, 231, 0);
        // What is written lies far from what runs.
        code.db(new byte[PageBytes]);
        foreach ((Label label, ulong value) in ((Label, ulong)[])[(cursor, 0), (left, 0), (mxcsr, 0x1f80), (start, EngineGuest.Code), (savedRbx, 0), (savedRsp, 0)])
        {
            Label place = label;
            code.Label(ref place);
            code.dq(value);
        }

        using MemoryStream stream = new();
        AssemblerResult result = code.Assemble(new StreamCodeWriter(stream), origin, BlockEncoderOptions.ReturnNewInstructionOffsets);
        _wayOut = result.GetLabelRIP(finish);
        Assert.That(stream.Length, Is.LessThan(Scratch - 0x100));
        return stream.ToArray();
    }

    /// <summary>Maps what is shared, and takes the signals.</summary>
    private void Prepare(Assembler code, Label handler)
    {
        const int SharedFixed = 0x11;
        const int ReadWrite = 3;
        const int ReadExecute = 5;
        const int OnStackWithDetailsAgain = 4 | 0x0800_0000 | 0x4000_0000 | 0x0400_0000;
        code.mov(rsp, Program + OwnStack);
        Call(code, 9, (long)Shared, SharedBytes, ReadWrite, SharedFixed, _shared, 0);
        Call(code, 9, (long)EngineGuest.Code, CodePages * PageBytes, ReadExecute, SharedFixed, _shared, CodeAt);
        Call(code, 9, (long)EngineGuest.Data, OracleMemory.DataPages * PageBytes, ReadWrite, SharedFixed, _shared, DataAt);
        code.mov(rbx, Program + Scratch);
        code.mov(rax, Program + AlternateStack);
        code.mov(__qword_ptr[rbx], rax);
        code.mov(__qword_ptr[rbx + 8], 0);
        code.mov(__qword_ptr[rbx + 16], AlternateStackBytes);
        Call(code, 131, (long)Program + Scratch, 0);
        code.lea(rax, __[handler]);
        code.mov(__qword_ptr[rbx], rax);
        code.mov(__qword_ptr[rbx + 8], OnStackWithDetailsAgain);
        code.mov(__qword_ptr[rbx + 16], rax);
        code.mov(__qword_ptr[rbx + 24], 0);
        foreach (int signal in (int[])[4, 5, 7, 8, 11])
            Call(code, 13, signal, (long)Program + Scratch, 0, 8);
    }

    private static AssemblerMemoryOperand Out(int word) => __qword_ptr[rbx + OutAt + (word * 8)];

    private static void Call(Assembler code, int number, params ReadOnlySpan<long> arguments)
    {
        AssemblerRegister64[] places = [rdi, rsi, rdx, r10, r8, r9];
        for (int index = 0; index < arguments.Length; index++)
            code.mov(places[index], arguments[index]);
        code.mov(eax, number);
        code.syscall();
    }

    private static void Copy(Assembler code)
    {
        code.mov(ecx, OracleMemory.WindowBytes);
        code.rep.movsb();
    }
}
