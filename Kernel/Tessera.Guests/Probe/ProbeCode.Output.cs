using Iced.Intel;
using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Guests.Probe;

/// <summary>The console's ring, numbers as text, and the entries that the probe gives to events.</summary>
internal sealed partial class ProbeCode
{
    private readonly ulong _upcalls;
    private Label _putCharacter;
    private Label _putText;
    private Label _putHex;
    private Label _putAnswer;
    private Label _flush;
    private Label _eventEntry;
    private Label _failsafe;
    private ulong _savedPort;

    /// <summary>How many upcalls came.</summary>
    public ulong Upcalls => _upcalls;

    /// <summary>Maps shared_info and the console, and registers handlers for exceptions and events. Events stay masked.</summary>
    public void Begin()
    {
        G.MapSharedInfo();
        G.LoadStartInfo(rsi);
        C.mov(rsi, __qword_ptr[rsi + StartInfo.ConsoleMfn]);
        C.shl(rsi, 12);
        C.or(rsi, GuestCode.Writable);
        G.Set(rdi, Console);
        C.mov(edx, (int)UpdateVaFlags.Invlpg);
        G.Hypercall(Hypercall.UpdateVaMapping);
        G.RequireZero(GuestError.HypercallRefused);
        _savedPort = G.Reserve(8);
        G.LoadStartInfo(rsi);
        C.mov(eax, __dword_ptr[rsi + StartInfo.ConsoleEventChannel]);
        C.mov(GuestCode.Absolute(_savedPort), rax);
        // A vCPU of Xen's has a periodic timer from the start, whose events would come into the cases at any time.
        Make(Hypercall.VcpuOp, (int)VcpuOp.StopPeriodicTimer, 0, 0);
        G.SetUpTraps();
        G.RegisterCallback(CallbackType.Event, _eventEntry);
        G.RegisterCallback(CallbackType.Failsafe, _failsafe);
    }

    /// <summary>Registers the event and failsafe callbacks again.</summary>
    public void RestoreCallbacks()
    {
        G.RegisterCallback(CallbackType.Event, _eventEntry);
        G.RegisterCallback(CallbackType.Failsafe, _failsafe);
    }

    /// <summary>The subroutines, and the finished file.</summary>
    public byte[] Finish()
    {
        C.call(_flush);
        G.SetProgress(GuestProgress.Finished);
        G.Shutdown(ShutdownReason.Poweroff);
        EmitGuarded();
        EmitCharacter();
        EmitText();
        EmitHex();
        EmitAnswer();
        EmitFlush();
        EmitEntries();
        return G.Finish();
    }

    // AL to the ring; waits for room. Keeps every register but RAX.
    private void EmitCharacter()
    {
        Label room = C.CreateLabel(), again = C.CreateLabel();
        C.Label(ref _putCharacter);
        C.push(rcx);
        C.push(rdx);
        C.mov(edx, eax);
        C.Label(ref again);
        C.mov(ecx, __dword_ptr[(long)Console + ConsoleRing.OutProd]);
        C.mov(eax, ecx);
        C.sub(eax, __dword_ptr[(long)Console + ConsoleRing.OutCons]);
        C.cmp(eax, ConsoleRing.OutSize);
        C.jb(room);
        C.call(_flush);
        C.jmp(again);
        C.Label(ref room);
        C.mov(eax, ecx);
        C.and(eax, ConsoleRing.OutSize - 1);
        C.mov(__byte_ptr[rax + ((long)Console + ConsoleRing.Out)], dl);
        C.inc(ecx);
        C.mov(__dword_ptr[(long)Console + ConsoleRing.OutProd], ecx);
        C.pop(rdx);
        C.pop(rcx);
        C.ret();
    }

    // The text stands after the call and ends with a zero.
    private void EmitText()
    {
        Label next = C.CreateLabel(), done = C.CreateLabel();
        C.Label(ref _putText);
        C.pop(rsi);
        C.Label(ref next);
        C.mov(al, __byte_ptr[rsi]);
        C.inc(rsi);
        C.test(al, al);
        C.je(done);
        C.call(_putCharacter);
        C.jmp(next);
        C.Label(ref done);
        C.jmp(rsi);
    }

    // A space and RAX in hexadecimal.
    private void EmitHex()
    {
        Label next = C.CreateLabel(), digit = C.CreateLabel(), put = C.CreateLabel();
        C.Label(ref _putHex);
        C.mov(rdx, rax);
        C.mov(al, (byte)' ');
        C.call(_putCharacter);
        C.bsr(rcx, rdx);
        C.cmovz(rcx, rdx);
        C.and(ecx, ~3);
        C.Label(ref next);
        C.mov(rax, rdx);
        C.shr(rax, cl);
        C.and(eax, 15);
        C.cmp(eax, 10);
        C.jb(digit);
        C.add(eax, 'a' - '0' - 10);
        C.Label(ref digit);
        C.add(eax, '0');
        C.call(_putCharacter);
        C.sub(ecx, 4);
        C.jns(next);
        C.Label(ref put);
        C.ret();
    }

    // A space, and the last call's result in decimal, or the trap that it ended with.
    private void EmitAnswer()
    {
        Label trapped = C.CreateLabel(), positive = C.CreateLabel(), next = C.CreateLabel(), write = C.CreateLabel();
        C.Label(ref _putAnswer);
        C.mov(rax, GuestCode.Absolute(_vector));
        C.test(rax, rax);
        C.jns(trapped);
        C.mov(al, (byte)' ');
        C.call(_putCharacter);
        C.mov(rdx, GuestCode.Absolute(Result));
        C.test(rdx, rdx);
        C.jns(positive);
        C.mov(al, (byte)'-');
        C.call(_putCharacter);
        C.neg(rdx);
        C.Label(ref positive);
        C.mov(rax, rdx);
        C.lea(rsi, __[rsp - 64]);
        C.mov(r8, rsi);
        C.mov(ecx, 10);
        C.Label(ref next);
        C.xor(edx, edx);
        C.div(rcx);
        C.dec(rsi);
        C.add(edx, '0');
        C.mov(__byte_ptr[rsi], dl);
        C.test(rax, rax);
        C.jne(next);
        C.Label(ref write);
        C.mov(al, __byte_ptr[rsi]);
        C.inc(rsi);
        C.push(r8);
        C.sub(rsp, 128);
        C.call(_putCharacter);
        C.add(rsp, 128);
        C.pop(r8);
        C.cmp(rsi, r8);
        C.jne(write);
        C.ret();
        C.Label(ref trapped);
        C.call(_putText);
        C.db(" fault\0"u8.ToArray());
        C.mov(rax, GuestCode.Absolute(_vector));
        C.call(_putHex);
        C.mov(rax, GuestCode.Absolute(G.TrapError));
        C.call(_putHex);
        C.ret();
    }

    // Tells the other end, and waits until it has read all. Keeps every register but RAX.
    private void EmitFlush()
    {
        AssemblerRegister64[] saved = [rdi, rsi, rdx, rcx, r11, r10, r8];
        Label wait = C.CreateLabel(), done = C.CreateLabel();
        C.Label(ref _flush);
        foreach (AssemblerRegister64 register in saved)
            C.push(register);
        C.push(0);
        C.mov(rax, GuestCode.Absolute(_savedPort));
        C.mov(__dword_ptr[rsp], eax);
        C.Label(ref wait);
        C.mov(eax, __dword_ptr[(long)Console + ConsoleRing.OutProd]);
        C.cmp(eax, __dword_ptr[(long)Console + ConsoleRing.OutCons]);
        C.je(done);
        G.Set(rdi, (ulong)EventChannelOp.Send);
        C.mov(rsi, rsp);
        G.Set(rax, (ulong)Hypercall.EventChannelOp);
        C.syscall();
        G.Set(rdi, (ulong)SchedOp.Yield);
        G.Set(rsi, 0);
        G.Set(rax, (ulong)Hypercall.SchedOp);
        C.syscall();
        C.jmp(wait);
        C.Label(ref done);
        C.pop(rax);
        foreach (AssemblerRegister64 register in saved.Reverse())
            C.pop(register);
        C.ret();
    }

    // An upcall is counted and no more: which ports are pending is for the cases to see.
    private void EmitEntries()
    {
        C.Label(ref _eventEntry);
        C.mov(__byte_ptr[(long)G.Shared + VcpuInfo.UpcallPending], 0);
        C.inc(GuestCode.Absolute(_upcalls));
        G.ReturnFromEntry();
        C.Label(ref _failsafe);
        C.mov(rsi, __qword_ptr[rsp + 48]);
        G.Fail(GuestError.UnexpectedTrap);
    }
}
