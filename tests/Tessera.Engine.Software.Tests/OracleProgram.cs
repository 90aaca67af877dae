using Iced.Intel;
using Tessera.Sdk.Conformance.Cpu;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Engine.Software.Tests;

/// <summary>How programs of one kind begin and end, and what they want.</summary>
/// <param name="Bits">64, or 32.</param>
internal sealed record ProgramKind(int Bits)
{
    /// <summary>What comes before the random instructions, vector registers and MXCSR apart.</summary>
    public Action<Assembler>? Before { get; init; }

    /// <summary>What comes behind them.</summary>
    public Action<Assembler>? After { get; init; }

    /// <summary>What lies at <see cref="OracleMemory.Control"/>, from a random word; otherwise an MXCSR with everything masked.</summary>
    public Func<ulong, uint>? Control { get; init; }

    /// <summary>What the host is given for an instruction.</summary>
    public Func<Instruction, Instruction>? OnHost { get; init; }

    /// <summary>What operands are to be.</summary>
    public Wishes Wishes { get; init; }

    /// <summary>Whether what lies at <see cref="OracleMemory.Control"/> is an MXCSR.</summary>
    public bool LoadsMxcsr => Before is null;

    /// <summary>Vector registers come from the window.</summary>
    public byte[] Head => field ??= Written(EngineGuest.Code, code =>
    {
        for (int register = 0; register < 8; register++)
            code.vmovups(new AssemblerRegisterYMM(Register.YMM0 + register), Place(OracleMemory.VectorsIn + (register * 32)));
        if (LoadsMxcsr)
            code.ldmxcsr(Bits == 64 ? __dword_ptr[rbx + OracleMemory.Control] : __dword_ptr[ebx + OracleMemory.Control]);
        Before?.Invoke(code);
    });

    /// <summary>And they go there after.</summary>
    public byte[] Tail => field ??= Written(EngineGuest.Code, code =>
    {
        After?.Invoke(code);
        for (int register = 0; register < 8; register++)
            code.vmovups(Place(OracleMemory.VectorsOut + (register * 32)), new AssemblerRegisterYMM(Register.YMM0 + register));
    });

    private AssemblerMemoryOperand Place(int offset) => Bits == 64 ? __ymmword_ptr[rbx + offset] : __ymmword_ptr[ebx + offset];

    private byte[] Written(ulong at, Action<Assembler> write)
    {
        Assembler assembler = new(Bits);
        write(assembler);
        using MemoryStream stream = new();
        assembler.Assemble(new StreamCodeWriter(stream), at);
        return stream.ToArray();
    }
}

/// <summary>
/// Random instructions as code, the guest's and the host's, and where each one begins in both. A jump's target is the number of an instruction behind it; as many as there are is the end.
/// </summary>
[System.Runtime.Versioning.SupportedOSPlatform("linux")]
internal sealed class OracleProgram
{
    private static readonly ProgramKind Host = new(64);
    private readonly ulong[] _guestStarts;
    private readonly ulong[] _hostStarts;

    /// <param name="kind">How it begins and ends.</param>
    /// <param name="body">The instructions.</param>
    /// <param name="wishes">What they want of their operands, beside what the kind does.</param>
    public OracleProgram(ProgramKind kind, IReadOnlyList<Instruction> body, Wishes wishes)
    {
        Kind = kind;
        Body = body;
        Wishes = kind.Wishes | wishes;
        GuestCode = Encode(kind, body, kind.Bits, out _guestStarts);
        bool isTwin = kind.OnHost is not null;
        _hostStarts = _guestStarts;
        HostCode = isTwin ? Encode(Host, [.. body.Select(instruction => kind.OnHost!(instruction))], 64, out _hostStarts) : GuestCode;
    }

    public ProgramKind Kind { get; }

    public IReadOnlyList<Instruction> Body { get; }

    public Wishes Wishes { get; }

    public byte[] GuestCode { get; }

    public byte[] HostCode { get; }

    /// <summary>Where the guest is when the host is at an address.</summary>
    public ulong OnGuest(ulong hostRip)
    {
        int index = Array.IndexOf(_hostStarts, hostRip);
        return index < 0 ? hostRip : _guestStarts[index];
    }

    /// <summary>How many of its instructions ran when it stopped there.</summary>
    public int RanUntil(ulong rip)
    {
        int index = Array.IndexOf(_guestStarts, rip);
        return index < 0 ? Body.Count : Math.Min(index + 1, Body.Count);
    }

    public override string ToString() => string.Join("; ", Body);

    private static byte[] Encode(ProgramKind kind, IReadOnlyList<Instruction> body, int bits, out ulong[] starts)
    {
        starts = new ulong[body.Count + 1];
        byte[] code = [];
        // Once to know where each begins, and once more with the jumps' targets.
        for (int time = 0; time < 2; time++)
        {
            using MemoryStream stream = new();
            stream.Write(kind.Head);
            Encoder encoder = Encoder.Create(bits, new StreamCodeWriter(stream));
            for (int index = 0; index < body.Count; index++)
            {
                Instruction instruction = body[index];
                ulong at = EngineGuest.Code + (ulong)stream.Position;
                starts[index] = at;
                if (instruction.Op0Kind == OpKind.NearBranch64)
                    instruction.NearBranch64 = time == 0 ? at : starts[(int)instruction.NearBranch64];
                encoder.Encode(instruction, at);
            }

            starts[^1] = EngineGuest.Code + (ulong)stream.Position;
            stream.Write(kind.Tail);
            stream.WriteByte(0xe9);
            stream.Write(BitConverter.GetBytes((int)(NativeChild.End - EngineGuest.Code - (ulong)stream.Position - sizeof(int))));
            code = stream.ToArray();
        }

        Assert.That(code, Has.Length.LessThanOrEqualTo(NativeChild.CodeBytes));
        return code;
    }
}
