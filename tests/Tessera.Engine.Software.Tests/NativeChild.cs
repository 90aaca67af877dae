using System.Diagnostics;
using System.Runtime.InteropServices;
using Iced.Intel;
using Tessera.Sdk.Conformance.Cpu;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Engine.Software.Tests;

/// <summary>
/// A process of its own that runs code on the host's processor until a signal ends it, and says which, where, and with what registers. Code, data and stack lie where
/// <see cref="EngineGuest"/> has them. It is a small program without a library, assembled here: a fault costs nobody anything.
/// </summary>
[System.Runtime.Versioning.SupportedOSPlatform("linux")]
internal sealed class NativeChild : IDisposable
{
    /// <summary>Registers in the hardware's order, then the flags.</summary>
    public const int Registers = 17;
    public const int CodeBytes = 512;
    public const int WindowBytes = 0x1000;

    /// <summary>Where the window begins: half of it lies in the second page of the data.</summary>
    public const ulong Window = EngineGuest.Data + 0x800;

    private const ulong Program = 0x600000;
    private const int ProgramBytes = 0x10000;
    private const int In = 0x4000;
    private const int Out = 0x6000;
    private const int AlternateStack = 0x8000;
    private const int AlternateStackBytes = 0x4000;
    private const int OwnStack = 0xf000;
    private const int RegisterBytes = 256;
    private const int InBytes = RegisterBytes + CodeBytes + WindowBytes;
    private const int ContextBytes = 23 * 8;
    private const int OutBytes = 256 + WindowBytes;

    /// <summary>Registers in a signal's context, in the hardware's order: R8 to R15, RDI, RSI, RBP, RBX, RDX, RAX, RCX, RSP.</summary>
    private static readonly int[] ContextPlaces = [13, 14, 12, 11, 15, 10, 9, 8, 0, 1, 2, 3, 4, 5, 6, 7];

    private readonly string _file = Path.GetTempFileName();
    private readonly Process _process;
    private readonly byte[] _in = new byte[InBytes];
    private readonly byte[] _out = new byte[OutBytes];

    public NativeChild()
    {
        File.WriteAllBytes(_file, Elf());
        File.SetUnixFileMode(_file, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        _process = Process.Start(new ProcessStartInfo(_file) { RedirectStandardInput = true, RedirectStandardOutput = true })!;
    }

    /// <summary>How a run ended.</summary>
    /// <param name="Vector">The exception.</param>
    /// <param name="ErrorCode">Its error code.</param>
    /// <param name="Rip">Where.</param>
    /// <param name="Address">CR2.</param>
    /// <param name="State">Registers in the hardware's order, then the flags.</param>
    public readonly record struct End(int Vector, uint ErrorCode, ulong Rip, ulong Address, ulong[] State);

    /// <summary>Runs code with registers and a window of memory; the window is as the code left it after.</summary>
    public End Run(ReadOnlySpan<byte> code, ReadOnlySpan<ulong> registers, Span<byte> window)
    {
        MemoryMarshal.AsBytes(registers).CopyTo(_in);
        _in.AsSpan(RegisterBytes, CodeBytes).Fill(0xf4); // hlt
        code.CopyTo(_in.AsSpan(RegisterBytes));
        window.CopyTo(_in.AsSpan(RegisterBytes + CodeBytes));
        _process.StandardInput.BaseStream.Write(_in);
        _process.StandardInput.BaseStream.Flush();
        _process.StandardOutput.BaseStream.ReadExactly(_out);
        ReadOnlySpan<ulong> context = MemoryMarshal.Cast<byte, ulong>(_out.AsSpan(0, ContextBytes));
        _out.AsSpan(256, WindowBytes).CopyTo(window);
        ulong[] state = new ulong[Registers];
        for (int register = 0; register < 16; register++)
            state[register] = context[ContextPlaces[register]];
        state[16] = context[17];
        return new End((int)context[20], (uint)context[19], context[16], context[22], state);
    }

    public void Dispose()
    {
        _process.StandardInput.Close();
        if (!_process.WaitForExit(10_000))
            _process.Kill();
        _process.Dispose();
        File.Delete(_file);
    }

    private static byte[] Elf()
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

    private static byte[] Assemble(ulong origin)
    {
        const int MapFixed = 0x32;
        const int AllRights = 7;
        const int OnStackWithDetailsAgain = 4 | 0x0800_0000 | 0x4000_0000 | 0x0400_0000;
        Assembler code = new(64);
        Label loop = code.CreateLabel();
        Label read = code.CreateLabel();
        Label handler = code.CreateLabel();
        Label leave = code.CreateLabel();
        code.mov(rsp, Program + OwnStack);
        foreach ((ulong at, int bytes) in ((ulong, int)[])[(EngineGuest.Code, 0x4000), (EngineGuest.Data, 0x8000), (EngineGuest.StackTop - 0x4000, 0x4000)])
            Call(code, 9, (long)at, bytes, AllRights, MapFixed, -1, 0);
        // stack_t and sigaction lie where cases come in later.
        code.mov(rbx, Program + In);
        code.mov(rax, Program + AlternateStack);
        code.mov(__qword_ptr[rbx], rax);
        code.mov(__qword_ptr[rbx + 8], 0);
        code.mov(__qword_ptr[rbx + 16], AlternateStackBytes);
        Call(code, 131, (long)Program + In, 0);
        code.lea(rax, __[handler]);
        code.mov(__qword_ptr[rbx], rax);
        code.mov(__qword_ptr[rbx + 8], OnStackWithDetailsAgain);
        code.mov(__qword_ptr[rbx + 16], rax);
        code.mov(__qword_ptr[rbx + 24], 0);
        foreach (int signal in (int[])[4, 5, 7, 8, 11])
            Call(code, 13, signal, (long)Program + In, 0, 8);

        code.Label(ref loop);
        code.mov(rsp, Program + OwnStack);
        code.mov(r12, Program + In);
        code.mov(r13, InBytes);
        code.Label(ref read);
        code.xor(eax, eax);
        code.xor(edi, edi);
        code.mov(rsi, r12);
        code.mov(rdx, r13);
        code.syscall();
        code.test(rax, rax);
        code.jle(leave);
        code.add(r12, rax);
        code.sub(r13, rax);
        code.jne(read);
        Copy(code, Program + In + RegisterBytes, EngineGuest.Code, CodeBytes);
        Copy(code, Program + In + RegisterBytes + CodeBytes, Window, WindowBytes);
        code.vzeroall();
        code.fninit();
        code.push(0x1f80);
        code.ldmxcsr(__dword_ptr[rsp]);
        code.mov(rbx, Program + In);
        code.push(__qword_ptr[rbx + (16 * 8)]);
        code.popfq();
        AssemblerRegister64[] order = [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15];
        for (int register = 0; register < order.Length; register++)
            code.mov(order[register], __qword_ptr[(long)Program + In + (register * 8)]);
        code.jmp(EngineGuest.Code);

        code.Label(ref handler);
        code.cld();
        code.lea(rsi, __[rdx + 40]);
        code.mov(rdi, Program + Out);
        code.mov(ecx, ContextBytes);
        code.rep.movsb();
        Copy(code, Window, Program + Out + 256, WindowBytes);
        Call(code, 1, 1, (long)Program + Out, OutBytes);
        code.jmp(loop);

        code.Label(ref leave);
        Call(code, 231, 0);
        using MemoryStream stream = new();
        code.Assemble(new StreamCodeWriter(stream), origin);
        Assert.That(stream.Length, Is.LessThan(In - 0x100));
        return stream.ToArray();
    }

    private static void Call(Assembler code, int number, params ReadOnlySpan<long> arguments)
    {
        AssemblerRegister64[] places = [rdi, rsi, rdx, r10, r8, r9];
        for (int index = 0; index < arguments.Length; index++)
            code.mov(places[index], arguments[index]);
        code.mov(eax, number);
        code.syscall();
    }

    private static void Copy(Assembler code, ulong from, ulong to, int bytes)
    {
        code.mov(rsi, from);
        code.mov(rdi, to);
        code.mov(ecx, bytes);
        code.rep.movsb();
    }
}
