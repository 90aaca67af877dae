using System.Runtime.InteropServices;
using Tmds.Linux;

namespace Tessera.Cli.Native;

/// <summary>A classic BPF program over struct seccomp_data, which decides on system calls of x86-64.</summary>
internal sealed unsafe class FilterProgram
{
    /// <summary>seccomp(2).</summary>
    public const int SysSeccomp = 317;

    /// <summary>SECCOMP_SET_MODE_FILTER.</summary>
    public const int SetModeFilter = 1;

    private const int EveryThreadFlag = 1;
    private const ushort LoadWord = 0x20;
    private const ushort And = 0x54;
    private const ushort JumpIfEqual = 0x15;
    private const ushort JumpIfAtLeast = 0x35;
    private const ushort Return = 0x06;
    private const uint AllowAction = 0x7fff0000;
    private const uint ErrorAction = 0x00050000;
    private const uint NumberAt = 0;
    private const uint ArchitectureAt = 4;
    private const uint ArgumentsAt = 16;
    private const uint X64 = 0xc000003e;
    private const uint X32 = 0x40000000;
    private const int NotPermitted = 1;
    private const int NoSystemCall = 38;

    private readonly List<Instruction> _program =
    [
        new(LoadWord, 0, 0, ArchitectureAt),
        new(JumpIfEqual, 1, 0, X64),
        new(Return, 0, 0, ErrorAction | NotPermitted),
        new(LoadWord, 0, 0, NumberAt),
        // 32-bit pointers in 64-bit code: calls of another table.
        new(JumpIfAtLeast, 0, 1, X32),
        new(Return, 0, 0, ErrorAction | NotPermitted),
    ];

    /// <summary>Allows a call.</summary>
    public void Allow(int call) => Decide(call, AllowAction);

    /// <summary>Refuses a call with an error.</summary>
    public void Refuse(int call, int error) => Decide(call, ErrorAction | (uint)error);

    /// <summary>Allows a call whose argument, masked, is one of these values; refuses it with EPERM otherwise.</summary>
    public void AllowWhen(int call, int argument, uint mask, params ReadOnlySpan<uint> values)
    {
        _program.Add(new(JumpIfEqual, 0, (byte)(values.Length + 4), (uint)call));
        _program.Add(new(LoadWord, 0, 0, ArgumentsAt + (8 * (uint)argument)));
        _program.Add(new(And, 0, 0, mask));
        for (int index = 0; index < values.Length; index++)
            _program.Add(new(JumpIfEqual, (byte)(values.Length - index), 0, values[index]));
        _program.Add(new(Return, 0, 0, ErrorAction | NotPermitted));
        _program.Add(new(Return, 0, 0, AllowAction));
    }

    /// <summary>Refuses all calls from this number on as if the kernel did not know them, so that a library takes the older one.</summary>
    public void RefuseFrom(int call)
    {
        _program.Add(new(JumpIfAtLeast, 0, 1, (uint)call));
        _program.Add(new(Return, 0, 0, ErrorAction | NoSystemCall));
    }

    /// <summary>What becomes of all other calls.</summary>
    public void Otherwise(bool isAllowed) => _program.Add(new(Return, 0, 0, isAllowed ? AllowAction : ErrorAction | NotPermitted));

    /// <summary>Puts it on the calling thread, or on every thread of the process.</summary>
    /// <returns>0; a thread that has another filter; or minus errno.</returns>
    public long Install(bool onEveryThread)
    {
        Instruction[] program = [.. _program];
        // SAFETY: the program is pinned for the call, which copies it, and its length given.
        fixed (Instruction* first = program)
        {
            Described described = new() { Length = (ushort)program.Length, First = first };
            long result = (ssize_t)LibC.syscall(SysSeccomp, SetModeFilter, onEveryThread ? EveryThreadFlag : 0, &described);
            return result < 0 ? -LibC.errno : result;
        }
    }

    /// <summary>A copy in memory of the system's, which stays for good: struct sock_fprog, for a signal's handler.</summary>
    public nint Keep()
    {
        // SAFETY: as much as the program and its description take.
        Instruction* first = (Instruction*)NativeMemory.Alloc((nuint)_program.Count, (nuint)sizeof(Instruction));
        CollectionsMarshal.AsSpan(_program).CopyTo(new Span<Instruction>(first, _program.Count));
        Described* described = (Described*)NativeMemory.Alloc((nuint)sizeof(Described));
        *described = new() { Length = (ushort)_program.Count, First = first };
        return (nint)described;
    }

    private void Decide(int call, uint action)
    {
        _program.Add(new(JumpIfEqual, 0, 1, (uint)call));
        _program.Add(new(Return, 0, 0, action));
    }

    /// <summary>struct sock_filter.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct Instruction(ushort Code, byte IfTrue, byte IfFalse, uint Value);

    /// <summary>struct sock_fprog.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct Described
    {
        public ushort Length;
        public Instruction* First;
    }
}
