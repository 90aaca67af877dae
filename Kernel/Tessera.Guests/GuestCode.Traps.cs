using Iced.Intel;
using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Guests;

/// <summary>Traps a guest expects: it names a place to go on before it provokes one. An unexpected trap ends the guest.</summary>
internal sealed partial class GuestCode
{
    private static readonly int[] Vectors = [0, 1, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 16, 17, 19];
    private Label _trapCommon;
    private Label _loadTraps;
    private Label[] _stubs = [];
    private ulong _trapTable;
    private ulong _recoverAt;
    private ulong _recoverStack;
    private ulong _faultAddress;
    private ulong _trapError;

    /// <summary>Where the last page fault's address stands.</summary>
    public ulong FaultAddress => _faultAddress;

    /// <summary>Where the last trap's error code stands.</summary>
    public ulong TrapError => _trapError;

    /// <summary>Where the stack pointer stands that a trap goes on with.</summary>
    public ulong RecoverStack => _recoverStack;

    /// <summary>Registers handlers for every exception. Needs <see cref="MapSharedInfo"/> before.</summary>
    public void SetUpTraps()
    {
        _trapTable = Reserve((Vectors.Length + 1) * TrapInfo.Size);
        _recoverAt = Reserve(8);
        _recoverStack = Reserve(8);
        _faultAddress = Reserve(8);
        _trapError = Reserve(8);
        _trapCommon = C.CreateLabel("trapCommon");
        _loadTraps = C.CreateLabel("loadTraps");
        _stubs = [.. Vectors.Select(vector => C.CreateLabel($"vector{vector}"))];
        ReloadTraps();
    }

    /// <summary>Registers the handlers again, after something may have replaced them.</summary>
    public void ReloadTraps() => C.call(_loadTraps);

    /// <summary>From here to <see cref="EndProbe"/> a trap goes on there, with the stack as it is here.</summary>
    public Label BeginProbe()
    {
        Label recovery = C.CreateLabel();
        C.lea(rax, __qword_ptr[recovery]);
        C.mov(Absolute(_recoverAt), rax);
        C.mov(Absolute(_recoverStack), rsp);
        C.mov(Report(ReportLayout.LastVector), -1);
        return recovery;
    }

    /// <summary>Both ways meet here; RAX is the vector that trapped, or negative.</summary>
    public void EndProbe(ref Label recovery)
    {
        C.Label(ref recovery);
        C.mov(Absolute(_recoverAt), 0);
        C.mov(rax, Report(ReportLayout.LastVector));
    }

    private void EmitTraps()
    {
        if (_stubs.Length == 0)
            return;
        C.Label(ref _loadTraps);
        for (int i = 0; i < Vectors.Length; i++)
        {
            ulong entry = _trapTable + (ulong)(i * TrapInfo.Size);
            C.mov(__dword_ptr[(long)entry], Vectors[i] | (TrapInfoFlags.MaskEvents << 8) | ((Vectors[i] is 3 or 4 ? 3 : 0) << 8) | (FlatSelectors.Code64 << 16));
            C.lea(rax, __qword_ptr[_stubs[i]]);
            C.mov(Absolute(entry + TrapInfo.Address), rax);
        }

        Set(rdi, _trapTable);
        Hypercall(Sdk.Xen.Hypercall.SetTrapTable);
        RequireZero(GuestError.HypercallRefused);
        C.ret();
        for (int i = 0; i < Vectors.Length; i++)
        {
            C.Label(ref _stubs[i]);
            C.pop(rcx);
            C.pop(r11);
            if (Vectors[i] is not (8 or 10 or 11 or 12 or 13 or 14 or 17))
                C.push(0);
            C.push(Vectors[i]);
            C.jmp(_trapCommon);
        }

        EmitTrapCommon();
    }

    // The stack, low to high: vector, error, rip, cs, rflags, rsp, ss.
    private void EmitTrapCommon()
    {
        Label unexpected = C.CreateLabel();
        C.Label(ref _trapCommon);
        C.pop(rax);
        C.mov(Report(ReportLayout.LastVector), rax);
        C.pop(rax);
        C.mov(Absolute(_trapError), rax);
        C.mov(rax, Absolute(_shared + VcpuInfo.Cr2));
        C.mov(Absolute(_faultAddress), rax);
        C.mov(rax, Absolute(_recoverAt));
        C.test(rax, rax);
        C.je(unexpected);
        C.mov(__qword_ptr[rsp], rax);
        C.mov(rax, Absolute(_recoverStack));
        C.mov(__qword_ptr[rsp + 24], rax);
        // Home is kernel mode, whatever mode the attack was in; its single step or direction flag must not follow.
        C.mov(__qword_ptr[rsp + 8], FlatSelectors.Code64 & ~3);
        C.and(__dword_ptr[rsp + 16], 0x200);
        C.push(0);
        C.jmp(GuestImage.HypercallPage + (32UL * (ulong)Sdk.Xen.Hypercall.Iret));
        C.Label(ref unexpected);
        C.mov(rsi, __qword_ptr[rsp]);
        Fail(GuestError.UnexpectedTrap);
    }
}
