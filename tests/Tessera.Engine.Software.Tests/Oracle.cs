using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using Tessera.Plugins.Cpu.Software;
using Tessera.Sdk;
using Tessera.Sdk.Conformance.Cpu;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;

namespace Tessera.Engine.Software.Tests;

/// <summary>Runs programs on the host's processor and translated, with the same operands, and compares all that is left behind: registers, flags, memory, and the exception that ended it.</summary>
[System.Runtime.Versioning.SupportedOSPlatform("linux")]
internal sealed class Oracle : IDisposable
{
    private const int PageBytes = 4096;
    private const int PageFault = 14;
    private const int OtherFrame = EngineGuest.FirstData + 5;
    private const ulong ReadOnly = EngineGuest.Rights & ~2UL;
    private const int CodePages = 4;
    private const int StackPages = 4;
    private const int DataPages = 8;
    private static readonly string[] Names = ["RAX", "RBX", "RCX", "RDX", "RSI", "RDI", "RSP", "RBP", "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15", "RIP", "RFLAGS"];

    /// <summary>Linux keeps the last page below the gap empty.</summary>
    private const ulong UserEnd = 0x7fff_ffff_f000;

    private readonly SoftwareEngine _engine;
    private readonly IEngineThread _thread;
    private readonly NativeChild _native = new();
    private readonly EngineGuest _guest;
    private readonly Operands _operands = new();
    private readonly byte[] _vectors = new byte[NativeChild.VectorBytes];

    /// <summary>The set that differed, what the guest had left behind of it, and whether it did so again.</summary>
    private int _differed = -1;
    private byte[] _found = [];
    private bool _isFoundAgain;

    public Oracle(SoftwareOptions options)
    {
        Assume.That(System.Runtime.Intrinsics.X86.Avx.IsSupported, "This host has no AVX.");
        _engine = new SoftwareEngine(options);
        _thread = _engine.EnterThread(0);
        _guest = new EngineGuest(_engine);
        // As the host's process has it: code that nobody writes, two pages of data, and nothing else.
        int firstCode = (int)(_guest.CodeFrame.Value - _guest.Frame(0).Value);
        for (int page = 0; page < CodePages; page++)
        {
            MemoryMarshal.AsBytes(_guest.Words(firstCode + page)).Fill(NativeChild.Hlt);
            _guest.Change(EngineGuest.L1, EngineGuest.EntryOf(EngineGuest.Code) + page, _guest.Frame(firstCode + page).Address | ReadOnly);
        }

        _guest.Change(EngineGuest.L1, EngineGuest.EntryOf(EngineGuest.Data) + 1, _guest.Frame(OtherFrame).Address | EngineGuest.Rights);
        for (int page = OracleMemory.DataPages; page < DataPages; page++)
            _guest.Change(EngineGuest.L1, EngineGuest.EntryOf(EngineGuest.Data) + page, 0);
        for (int page = 1; page <= StackPages; page++)
            _guest.Change(EngineGuest.L1, EngineGuest.EntryOf(EngineGuest.StackTop) - page, 0);
    }

    /// <summary>Instructions that were compared.</summary>
    public long Instructions { get; private set; }

    /// <summary>Sets of operands that were compared.</summary>
    public long Sets { get; private set; }

    /// <summary>Those that ended with an exception.</summary>
    public long Exceptions { get; private set; }

    /// <summary>Where programs begin; what is behind one stays `hlt`.</summary>
    private Span<byte> Code => MemoryMarshal.AsBytes(_guest.Words((int)(_guest.CodeFrame.Value - _guest.Frame(0).Value)))[..NativeChild.CodeBytes];

    private Span<byte> Low => MemoryMarshal.AsBytes(_guest.Words(EngineGuest.FirstData));

    private Span<byte> High => MemoryMarshal.AsBytes(_guest.Words(OtherFrame));

    /// <summary>Answers of the host's that it did not give again: a kernel that is a guest itself may answer an interrupt at a strange stack pointer with an exception.</summary>
    public long Retracted { get; private set; }

    /// <summary>
    /// Runs a program with so many sets of operands; answers what differs, if anything does. What differs is tried once more from the first set on: if the guest leaves the same behind and this
    /// time the host does too, it was the host's.
    /// </summary>
    /// <param name="program">The program.</param>
    /// <param name="seed">What the sets follow from.</param>
    /// <param name="sets">How many.</param>
    public string? Compare(OracleProgram program, long seed, int sets)
    {
        (_differed, _isFoundAgain) = (-1, false);
        string? difference = CompareOnce(program, seed, sets);
        if (difference is null || _differed < 0 || CompareOnce(program, seed, sets) is not null || !_isFoundAgain)
            return difference;
        Retracted++;
        TestContext.Out.WriteLine($"the host did not do this again: {difference}");
        return null;
    }

    private string? CompareOnce(OracleProgram program, long seed, int sets)
    {
        _native.Load(program.HostCode);
        Low.Clear();
        High.Clear();
        Code.Fill(NativeChild.Hlt);
        program.GuestCode.CopyTo(Code);
        _guest.CodeChanged();
        if (program.Kind.Bits == 32)
        {
            ref GuestCpuState state = ref _guest.State;
            (state.Is32Bit, state.Cs, state.Ss, state.Ds, state.Es) = (true, 0xe023, 0xe02b, 0xe02b, 0xe02b);
        }

        for (int first = 0; first < sets; first += NativeChild.Sets)
        {
            int count = Math.Min(NativeChild.Sets, sets - first);
            for (int set = 0; set < count; set++)
            {
                Span<byte> window = _native.WindowIn(set);
                _operands.Make(seed, first + set, program.Wishes, _native.Registers(set), window);
                MemoryMarshal.Write(window[(OracleMemory.Middle + OracleMemory.Control)..], program.Kind.Control?.Invoke(_operands.Next()) ?? 0x1f80);
                MemoryMarshal.Write(window[(OracleMemory.Middle + OracleMemory.ControlAfter)..], 0x37f);
            }

            _native.Begin(count);
            _native.Await();
            Nanoseconds deadline = new Nanoseconds(Stopwatch.GetTimestamp()) + Nanoseconds.FromMilliseconds(600_000);
            for (int set = 0; set < count; set++)
            {
                if (One(program, set, seed, first + set, deadline) is { } difference)
                    return difference;
            }
        }

        Span<byte> data = _native.Data;
        return Low.SequenceEqual(data[..PageBytes]) && High.SequenceEqual(data[PageBytes..]) ? null : $"TESSERA_ORACLE_SEED={seed}, after {sets} sets: {program}: memory beside the window";
    }

    public void Dispose()
    {
        _guest.Dispose();
        _native.Dispose();
        _thread.Dispose();
        _engine.Dispose();
    }

    private string? One(OracleProgram program, int set, long seed, int number, Nanoseconds deadline)
    {
        Span<byte> low = Low[^OracleMemory.Middle..];
        Span<byte> high = High[..(OracleMemory.WindowBytes - OracleMemory.Middle)];
        ReadOnlySpan<byte> before = _native.WindowIn(set);
        before[..OracleMemory.Middle].CopyTo(low);
        before[OracleMemory.Middle..].CopyTo(high);
        Span<ulong> state = MemoryMarshal.CreateSpan(ref _guest.State.Rax, NativeChild.Words);
        _native.Registers(set).CopyTo(state);
        Trap trap = _guest.Cpus[0].Run(_thread, deadline);

        ReadOnlySpan<ulong> outcome = _native.Outcome(set);
        ReadOnlySpan<byte> after = _native.WindowOut(set);
        ulong rip = outcome[16];
        bool atEnd = rip == NativeChild.End;
        if (!atEnd)
            rip = program.OnGuest(rip);
        bool isPageFault = outcome[NativeChild.Vector] == PageFault;
        ulong address = isPageFault ? outcome[NativeChild.Address] : 0;
        // A kernel hides from its programs whether its own half is mapped.
        uint hidden = isPageFault && address >= UserEnd ? 1u : 0;
        // Flags that an instruction replaces are anything while it faults.
        bool isEqual = trap.Kind == TrapKind.Exception && trap.Vector == outcome[NativeChild.Vector] && (trap.ErrorCode | hidden) == ((uint)outcome[NativeChild.ErrorCode] | hidden)
            && trap.FaultAddress == address && state[..16].SequenceEqual(outcome[..16]) && state[16] == rip && (!atEnd || ((state[17] ^ outcome[17]) & Operands.Flags) == 0)
            && low.SequenceEqual(after[..OracleMemory.Middle]) && high.SequenceEqual(after[OracleMemory.Middle..]) && (atEnd || HaveSameVectors(program, set));
        if (number == _differed)
            _isFoundAgain = Left(trap, state, low, high).AsSpan().SequenceEqual(_found);
        if (!isEqual)
        {
            (_differed, _found) = (number, Left(trap, state, low, high));
            return Difference(program, set, seed, number, trap, state, [.. low, .. high]);
        }

        Sets++;
        Exceptions += atEnd ? 0 : 1;
        Instructions += atEnd ? program.Body.Count : program.RanUntil(rip);
        return null;
    }

    /// <summary>All that a guest has left behind.</summary>
    private static byte[] Left(in Trap trap, ReadOnlySpan<ulong> state, ReadOnlySpan<byte> low, ReadOnlySpan<byte> high) =>
        [trap.Vector, .. BitConverter.GetBytes(trap.ErrorCode), .. BitConverter.GetBytes(trap.FaultAddress), .. MemoryMarshal.AsBytes(state), .. low, .. high];

    /// <summary>Code that comes to its end has stored them; of what faults they are where the processor was.</summary>
    private bool HaveSameVectors(OracleProgram program, int set)
    {
        const int Components = 512;
        const int Mxcsr = 24;
        const int Low = 160;
        const int High = 576;
        const int Bytes = 8 * 16;
        ((ICapturesCpu)_guest.Cpus[0]).Capture(_vectors);
        ReadOnlySpan<byte> host = _native.Vectors(set);
        bool isMxcsr = !program.Kind.LoadsMxcsr || host.Slice(Mxcsr, sizeof(ushort)).SequenceEqual(_vectors.AsSpan(Mxcsr, sizeof(ushort)));
        return isMxcsr && Same(host, 2, Low) && Same(host, 4, High);

        // What is in its initial state has no bytes.
        bool Same(ReadOnlySpan<byte> host, byte component, int at) => (host[Components] & component) == 0
            ? !_vectors.AsSpan(at, Bytes).ContainsAnyExcept((byte)0)
            : _vectors.AsSpan(at, Bytes).SequenceEqual(host.Slice(at, Bytes));
    }

    private string Difference(OracleProgram program, int set, long seed, int number, in Trap trap, ReadOnlySpan<ulong> state, ReadOnlySpan<byte> window)
    {
        StringBuilder text = new();
        text.Append(CultureInfo.InvariantCulture, $"TESSERA_ORACLE_SEED={seed}, set {number}: {program} ({Convert.ToHexString(program.GuestCode)})\n");
        ReadOnlySpan<ulong> outcome = _native.Outcome(set);
        text.Append(CultureInfo.InvariantCulture, $"host: vector {outcome[18]}, error {outcome[19]:x}, address {outcome[20]:x}\n");
        text.Append(CultureInfo.InvariantCulture, $"guest: {trap.Kind} {trap.Vector}, error {trap.ErrorCode:x}, address {trap.FaultAddress:x} {trap.Diagnosis}\n");
        ReadOnlySpan<ulong> registers = _native.Registers(set);
        for (int word = 0; word < NativeChild.Words; word++)
            text.Append(CultureInfo.InvariantCulture, $"{Names[word],6}: {registers[word],16:x}, host {outcome[word],16:x}, guest {state[word],16:x}{(outcome[word] == state[word] ? string.Empty : " *")}\n");
        ReadOnlySpan<ulong> before = MemoryMarshal.Cast<byte, ulong>(_native.WindowIn(set)), after = MemoryMarshal.Cast<byte, ulong>(_native.WindowOut(set)), found = MemoryMarshal.Cast<byte, ulong>(window);
        if (outcome[16] != NativeChild.End && !HaveSameVectors(program, set))
            text.Append(CultureInfo.InvariantCulture, $"vectors: host {Convert.ToHexString(_native.Vectors(set)[24..26])} {Convert.ToHexString(_native.Vectors(set)[160..288])} {Convert.ToHexString(_native.Vectors(set)[576..704])}, guest {Convert.ToHexString(_vectors[24..26])} {Convert.ToHexString(_vectors[160..288])} {Convert.ToHexString(_vectors[576..704])}\n");
        for (int word = 0; word < before.Length; word++)
        {
            if (after[word] != found[word])
                text.Append(CultureInfo.InvariantCulture, $"[RBX{(word * 8) - OracleMemory.Middle:+0;-0}]: {before[word]:x}, host {after[word]:x}, guest {found[word]:x}\n");
        }

        return text.ToString();
    }
}
