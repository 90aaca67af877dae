using Iced.Intel;
using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Guests;

/// <summary>
/// The assembler of a built-in guest with what all of them need: hypercalls, the report, shutting down, looking frames up. Subroutines take
/// arguments in RDI and RSI, answer in RAX, keep RBX, RBP and R12 to R15, and may change the rest.
/// </summary>
internal sealed partial class GuestCode
{
    /// <summary>Flags of an own page mapped writable: present, writable, accessed, dirty. The hypervisor adds the user bit.</summary>
    public const int Writable = 0x63;

    /// <summary>The same without the right to write.</summary>
    public const int ReadOnly = 0x21;

    private readonly GuestImage _image;
    private readonly ulong _startInfo;
    private readonly ulong _frameList;
    private readonly ulong _argument;
    private Label _fail;
    private Label _findAddress;
    private bool _findAddressUsed;
    private Label _text;
    private byte[] _textBytes = [];

    public GuestCode(GuestKind kind, ulong unitInstructions = 0)
    {
        _image = new(kind, unitInstructions);
        C = new(64);
        _startInfo = _image.Reserve(8);
        _frameList = _image.Reserve(8);
        _argument = _image.Reserve(32);
        _fail = C.CreateLabel("fail");
        _findAddress = C.CreateLabel("findAddress");
        _now = C.CreateLabel("now");
        C.mov(Absolute(_startInfo), rsi);
        C.mov(rax, __qword_ptr[rsi + StartInfo.MfnList]);
        C.mov(Absolute(_frameList), rax);
        // Exceptions later come on this stack, and the ABI wants direction and alignment flags clear.
        C.cld();
    }

    /// <summary>The assembler itself.</summary>
    public Assembler C { get; }

    /// <summary>Scratch for the argument structure of one hypercall, 32 bytes.</summary>
    public ulong Argument => _argument;

    /// <summary>The value at a fixed address.</summary>
    public static AssemblerMemoryOperand Absolute(ulong address) => __qword_ptr[(long)address];

    /// <summary>A 64-bit field of the report.</summary>
    public static AssemblerMemoryOperand Report(int offset) => __qword_ptr[unchecked((long)GuestImage.Report) + offset];

    /// <summary>A 32-bit field of the report.</summary>
    public static AssemblerMemoryOperand ReportInt(int offset) => __dword_ptr[unchecked((long)GuestImage.Report) + offset];

    public ulong Reserve(int bytes) => _image.Reserve(bytes);

    public ulong ReservePages(int pages) => _image.ReservePages(pages);

    /// <summary>The finished file. Emits the subroutines that were used.</summary>
    public byte[] Finish()
    {
        EmitFail();
        EmitTraps();
        EmitTime();
        EmitFindAddress();
        EmitText();
        return _image.Write(C);
    }

    /// <summary>Moves a constant to a register in its shortest form.</summary>
    public void Set(AssemblerRegister64 register, ulong value)
    {
        if (value == 0)
            C.xor(new AssemblerRegister32(register.Value - Register.RAX + Register.EAX), new AssemblerRegister32(register.Value - Register.RAX + Register.EAX));
        else if (value <= uint.MaxValue)
            C.mov(new AssemblerRegister32(register.Value - Register.RAX + Register.EAX), (uint)value);
        else if ((long)value is >= int.MinValue and < 0)
            C.mov(register, (int)(long)value);
        else
            C.mov(register, value);
    }

    /// <summary>Makes a hypercall through the hypercall page; arguments are in RDI, RSI, RDX, R10, R8; changes RAX only.</summary>
    public void Hypercall(Hypercall number) => C.call(GuestImage.HypercallPage + (32UL * (ulong)number));

    /// <summary>Makes a hypercall with two constants first.</summary>
    public void Hypercall(Hypercall number, int first, ulong second)
    {
        Set(rdi, (ulong)first);
        Set(rsi, second);
        Hypercall(number);
    }

    /// <summary>Ends in failure when RAX is not 0.</summary>
    public void RequireZero(GuestError error)
    {
        Label good = C.CreateLabel();
        C.test(rax, rax);
        C.je(good);
        C.mov(rsi, rax);
        Fail(error);
        C.Label(ref good);
        // One instruction carries one label only; the caller may place its own next.
        C.zero_bytes();
    }

    /// <summary>Ends in failure when RAX is not negative: something was granted that must not be.</summary>
    public void RequireRefusal(GuestError error)
    {
        Label good = C.CreateLabel();
        C.test(rax, rax);
        C.js(good);
        C.mov(rsi, rax);
        Fail(error);
        C.Label(ref good);
        C.zero_bytes();
    }

    /// <summary>Ends in failure; the detail is in RSI.</summary>
    public void Fail(GuestError error)
    {
        C.mov(edi, (int)error);
        C.jmp(_fail);
    }

    public void SetProgress(GuestProgress progress) => C.mov(ReportInt(ReportLayout.Progress), (int)progress);

    /// <summary>Shuts the domain down; does not come back.</summary>
    public void Shutdown(ShutdownReason reason)
    {
        Label forever = C.CreateLabel();
        C.mov(Absolute(_argument), (int)reason);
        C.Label(ref forever);
        Hypercall(Sdk.Xen.Hypercall.SchedOp, (int)SchedOp.Shutdown, _argument);
        C.jmp(forever);
    }

    /// <summary>Loads start_info's address.</summary>
    public void LoadStartInfo(AssemblerRegister64 into) => C.mov(into, Absolute(_startInfo));

    /// <summary>Loads the address of the list of machine frames.</summary>
    public void LoadFrameList(AssemblerRegister64 into) => C.mov(into, Absolute(_frameList));

    /// <summary>Loads the machine frame behind one of the image's own pages.</summary>
    public void LoadFrame(AssemblerRegister64 into, ulong address)
    {
        C.mov(into, Absolute(_frameList));
        C.mov(into, __qword_ptr[into + (int)((address - GuestImage.VirtBase) >> 12 << 3)]);
    }

    /// <summary>Loads the page-table entry that maps one of the image's own pages.</summary>
    public void LoadEntry(AssemblerRegister64 into, ulong address, int flags)
    {
        LoadFrame(into, address);
        C.shl(into, 12);
        C.or(into, flags);
    }

    /// <summary>Maps one of the image's own pages at its own address with other flags; answers in RAX.</summary>
    public void Remap(ulong address, int flags)
    {
        LoadEntry(rsi, address, flags);
        Set(rdi, address);
        C.mov(edx, (int)UpdateVaFlags.Invlpg);
        Hypercall(Sdk.Xen.Hypercall.UpdateVaMapping);
    }

    /// <summary>Finds where the guest sees one of its frames: RDI frame → RAX address, 0 when it is not its own.</summary>
    public void FindAddress()
    {
        _findAddressUsed = true;
        C.call(_findAddress);
    }

    /// <summary>Read-only bytes after the code; once a guest.</summary>
    public Label Text(byte[] bytes)
    {
        _text = C.CreateLabel("text");
        _textBytes = bytes;
        return _text;
    }

    private void EmitText()
    {
        if (_textBytes.Length == 0)
            return;
        C.Label(ref _text);
        C.db(_textBytes);
    }

    private void EmitFail()
    {
        C.Label(ref _fail);
        C.mov(Report(ReportLayout.ErrorCode), rdi);
        C.mov(Report(ReportLayout.ErrorDetail), rsi);
        SetProgress(GuestProgress.Failed);
        Shutdown(ShutdownReason.Crash);
    }

    private void EmitFindAddress()
    {
        if (!_findAddressUsed)
            return;
        Label next = C.CreateLabel(), found = C.CreateLabel();
        C.Label(ref _findAddress);
        LoadStartInfo(rsi);
        C.mov(rdx, __qword_ptr[rsi + StartInfo.NrPages]);
        LoadFrameList(rsi);
        Set(rcx, 0);
        C.Label(ref next);
        C.cmp(__qword_ptr[rsi + (rcx * 8)], rdi);
        C.je(found);
        C.inc(rcx);
        C.cmp(rcx, rdx);
        C.jb(next);
        Set(rax, 0);
        C.ret();
        C.Label(ref found);
        C.mov(rax, rcx);
        C.shl(rax, 12);
        Set(rdx, GuestImage.VirtBase);
        C.add(rax, rdx);
        C.ret();
    }
}
