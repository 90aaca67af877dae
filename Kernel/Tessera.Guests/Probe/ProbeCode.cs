using System.Text;
using Iced.Intel;
using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Guests.Probe;

/// <summary>
/// The assembler of the probe: cases, each a hypercall or an instruction with its line on the console, `group case: answer words…`. A
/// case that
/// traps says so in its line; nothing ends the guest.
/// </summary>
internal sealed partial class ProbeCode
{
    /// <summary>An address that no table maps.</summary>
    public const ulong Unmapped = 0xFFFF_FFFF_4000_0000;

    /// <summary>An address that is none.</summary>
    public const ulong NotCanonical = 0x0000_8000_0000_0000;

    /// <summary>An address of the hypervisor's own.</summary>
    public const ulong Hypervisor = 0xFFFF_8300_0000_0000;

    /// <summary>A frame number beyond every machine's memory.</summary>
    public const ulong NoFrame = 0xFF_FFFF_FFFF;

    /// <summary>A domain number that no domain has.</summary>
    public const int NoDomain = 5555;

    private Label _guarded;
    private readonly ulong _number;
    private readonly ulong _vector;
    private readonly HashSet<string> _cases = [];
    private string _group = "";

    public ProbeCode()
    {
        G = new GuestCode(GuestKind.Probe);
        Console = G.ReservePages(1);
        Page = G.ReservePages(1);
        Second = G.ReservePages(1);
        Spare = G.ReservePages(4);
        Result = G.Reserve(8);
        _number = G.Reserve(8);
        _vector = G.Reserve(8);
        _upcalls = G.Reserve(8);
        _guarded = C.CreateLabel("guarded");
        _putCharacter = C.CreateLabel("putCharacter");
        _putText = C.CreateLabel("putText");
        _putHex = C.CreateLabel("putHex");
        _putAnswer = C.CreateLabel("putAnswer");
        _flush = C.CreateLabel("flush");
        _eventEntry = C.CreateLabel("probeEvent");
        _failsafe = C.CreateLabel("probeFailsafe");
    }

    public GuestCode G { get; }

    public Assembler C => G.C;

    /// <summary>Where the console's ring is mapped.</summary>
    public ulong Console { get; }

    /// <summary>A page for arguments.</summary>
    public ulong Page { get; }

    /// <summary>Another.</summary>
    public ulong Second { get; }

    /// <summary>Four pages that cases may give away, retype or unmap.</summary>
    public ulong Spare { get; }

    /// <summary>The last call's result.</summary>
    public ulong Result { get; }

    /// <summary>Names the group of the cases that follow.</summary>
    public void Group(string name)
    {
        _group = name;
        C.call(_flush);
    }

    /// <summary>Pointers that lead nowhere, with their names.</summary>
    public static IReadOnlyList<(string Name, ulong Address)> BadPointers { get; } =
        [("null", 0), ("unmapped", Unmapped), ("noncanonical", NotCanonical), ("hypervisor", Hypervisor)];

    /// <summary>Domain numbers that are not the caller's, with their names.</summary>
    public static IReadOnlyList<(string Name, int Number)> OtherDomains { get; } =
        [("dom0", 0), ("nobody", NoDomain), ("io", DomainIds.Io), ("xen", DomainIds.Xen), ("cow", DomainIds.Cow),
            ("invalid", DomainIds.Invalid), ("ffff", 0xffff)];

    /// <summary>Fills a page of arguments with zeros.</summary>
    public void Clear(ulong page)
    {
        G.Set(rdi, page);
        G.Set(rax, 0);
        C.mov(ecx, 512);
        C.rep.stosq();
    }

    /// <summary>Stores 1, 2, 4 or 8 bytes.</summary>
    public void Put(ulong address, int bytes, Argument value)
    {
        Load(rax, value);
        switch (bytes)
        {
            case 1:
                C.mov(__byte_ptr[(long)address], al);
                break;
            case 2:
                C.mov(__word_ptr[(long)address], ax);
                break;
            case 4:
                C.mov(__dword_ptr[(long)address], eax);
                break;
            default:
                C.mov(__qword_ptr[(long)address], rax);
                break;
        }
    }

    /// <summary>Stores 32-bit words one after the other.</summary>
    public void Put32(ulong address, params ReadOnlySpan<long> words)
    {
        for (int index = 0; index < words.Length; index++)
            C.mov(__dword_ptr[(long)address + (index * 4)], unchecked((int)words[index]));
    }

    /// <summary>Stores 64-bit words one after the other.</summary>
    public void Put64(ulong address, params ReadOnlySpan<Argument> words)
    {
        for (int index = 0; index < words.Length; index++)
            Put(address + ((ulong)index * 8), 8, words[index]);
    }

    /// <summary>A hypercall, and its line: the result, then 32-bit words of memory in hexadecimal.</summary>
    public void Call(string name, Hypercall number, Argument[] arguments, params ulong[] shown) => Call(name,
        (ulong)number, arguments, shown);

    /// <summary>A hypercall by any number.</summary>
    public void Call(string name, ulong number, Argument[] arguments, params ulong[] shown)
    {
        Make(number, arguments);
        Say($"{Unique(name)}:");
        C.call(_putAnswer);
        Show(shown);
        EndLine();
    }

    /// <summary>A hypercall without a line: it puts things in order again.</summary>
    public void Make(ulong number, params Argument[] arguments)
    {
        AssemblerRegister64[] registers = [rdi, rsi, rdx, r10, r8, r9];
        for (int index = 0; index < arguments.Length; index++)
            Load(registers[index], arguments[index]);
        G.Set(rax, number);
        C.call(_guarded);
    }

    /// <summary>The same by name.</summary>
    public void Make(Hypercall number, params Argument[] arguments) => Make((ulong)number, arguments);

    /// <summary>Instructions with RAX from 0, and their line: `ok`, or the vector and the error code.</summary>
    /// <param name="name">The case's.</param>
    /// <param name="emit">The instructions; they may change any register but RSP.</param>
    /// <param name="mask">Which bits of RAX to show after them; 0 for none.</param>
    public void Instruction(string name, Action<Assembler> emit, ulong mask = 0)
    {
        Label recovery = G.BeginProbe();
        G.Set(rax, 0);
        C.mov(GuestCode.Absolute(Result), rax);
        emit(C);
        C.mov(GuestCode.Absolute(Result), rax);
        G.EndProbe(ref recovery);
        C.mov(GuestCode.Absolute(_vector), rax);
        Label failed = C.CreateLabel(), done = C.CreateLabel();
        Say($"{Unique(name)}:");
        C.cmp(GuestCode.Absolute(_vector), 0);
        C.jge(failed);
        Say(" ok");
        if (mask != 0)
        {
            C.mov(rax, GuestCode.Absolute(Result));
            if (mask != ulong.MaxValue)
            {
                G.Set(rcx, mask);
                C.and(rax, rcx);
            }

            C.call(_putHex);
        }

        C.jmp(done);
        C.Label(ref failed);
        C.call(_putAnswer);
        C.Label(ref done);
        EndLine();
    }

    /// <summary>A line of words of memory, without a call.</summary>
    public void Facts(string name, params ulong[] shown)
    {
        Say($"{Unique(name)}:");
        Show(shown);
        EndLine();
    }

    /// <summary>A line of 64-bit values.</summary>
    public void Values(string name, params Argument[] values)
    {
        Say($"{Unique(name)}:");
        foreach (Argument value in values)
        {
            Load(rax, value);
            C.call(_putHex);
        }

        EndLine();
    }

    /// <summary>Loads a value.</summary>
    public void Load(AssemblerRegister64 register, Argument value)
    {
        switch (value.Kind)
        {
            case ArgumentKind.Constant:
                G.Set(register, value.Value);
                break;
            case ArgumentKind.Frame:
                G.LoadFrame(register, value.Value);
                if (value.Shift != 0)
                    C.shl(register, (byte)value.Shift);
                break;
            default:
                C.mov(register, GuestCode.Absolute(value.Value));
                break;
        }

        if (value.Plus != 0)
            C.add(register, (int)value.Plus);
    }

    // The same question may be asked again later; the second time it is another case.
    private string Unique(string name)
    {
        string full = $"{_group} {name}", unique = full;
        for (int time = 2; !_cases.Add(unique); time++)
            unique = $"{full} #{time}";
        return unique;
    }

    private void Show(ulong[] shown)
    {
        foreach (ulong address in shown)
        {
            C.mov(eax, __dword_ptr[(long)address]);
            C.call(_putHex);
        }
    }

    private void Say(string text)
    {
        C.call(_putText);
        C.db(Encoding.ASCII.GetBytes(text + "\0"));
    }

    private void EndLine()
    {
        Say("\n");
        C.inc(GuestCode.Report(ReportLayout.Units));
    }

    // RAX is the number; the arguments are in their registers. What comes of it is in Result and _vector.
    private void EmitGuarded()
    {
        C.Label(ref _guarded);
        C.mov(GuestCode.Absolute(_number), rax);
        Label recovery = G.BeginProbe();
        C.mov(rax, GuestCode.Absolute(_number));
        C.syscall();
        C.mov(GuestCode.Absolute(Result), rax);
        G.EndProbe(ref recovery);
        C.mov(GuestCode.Absolute(_vector), rax);
        C.ret();
    }
}
