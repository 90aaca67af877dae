using Iced.Intel;
using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Guests;

/// <summary>The shared page, system time, and sleeping until a deadline with the wake-to-run latency measured.</summary>
internal sealed partial class GuestCode
{
    private Label _now;
    private Label _eventEntry;
    private Label _failsafeEntry;
    private bool _timeUsed;
    private ulong _shared;
    private ulong _deadline;
    private ulong _woken;
    private ulong _ports;

    /// <summary>The shared_info page's address in the guest; mapped by <see cref="MapSharedInfo"/>.</summary>
    public ulong Shared => _shared;

    /// <summary>Maps shared_info over a page of the image.</summary>
    public void MapSharedInfo()
    {
        _shared = _image.ReservePages(1);
        LoadStartInfo(rsi);
        C.mov(rsi, __qword_ptr[rsi + StartInfo.SharedInfo]);
        C.or(rsi, Writable);
        Set(rdi, _shared);
        C.mov(edx, (int)UpdateVaFlags.Invlpg);
        Hypercall(Sdk.Xen.Hypercall.UpdateVaMapping);
        RequireZero(GuestError.HypercallRefused);
    }

    /// <summary>System time in ns, in RAX.</summary>
    public void Now() => C.call(_now);

    /// <summary>Binds the timer interrupt and registers the event callback. Needs <see cref="MapSharedInfo"/> before.</summary>
    public void SetUpTimer()
    {
        _timeUsed = true;
        _deadline = Reserve(8);
        _woken = Reserve(8);
        _ports = Reserve(8);
        _eventEntry = C.CreateLabel("eventEntry");
        _failsafeEntry = C.CreateLabel("failsafeEntry");
        RegisterCallback(CallbackType.Event, _eventEntry);
        RegisterCallback(CallbackType.Failsafe, _failsafeEntry);
        C.mov(__dword_ptr[(long)Argument + EventChannelLayout.BindVirqVirq], (int)Virq.Timer);
        C.mov(__dword_ptr[(long)Argument + EventChannelLayout.BindVirqVcpu], 0);
        Hypercall(Sdk.Xen.Hypercall.EventChannelOp, (int)EventChannelOp.BindVirq, Argument);
        RequireZero(GuestError.HypercallRefused);
        C.mov(eax, __dword_ptr[(long)Argument + EventChannelLayout.BindVirqPort]);
        C.mov(Absolute(_ports), rax);
        Unmask();
    }

    /// <summary>Registers one entry point.</summary>
    public void RegisterCallback(CallbackType type, Label entry)
    {
        C.mov(__dword_ptr[(long)Argument], (int)type | ((int)CallbackFlags.MaskEvents << 16));
        C.lea(rax, __qword_ptr[entry]);
        C.mov(Absolute(Argument + CallbackRegister.Address), rax);
        Hypercall(Sdk.Xen.Hypercall.CallbackOp, (int)CallbackOp.Register, Argument);
        RequireZero(GuestError.HypercallRefused);
    }

    /// <summary>Clears the mask bit of the port in RAX.</summary>
    public void Unmask()
    {
        C.btr(__qword_ptr[(long)_shared + SharedInfo.EventMask], rax);
    }

    /// <summary>Blocks until the system time in RDI, and records in the histogram how much later it runs again.</summary>
    /// <remarks>Events are masked from arming to blocking; the block clears the mask, so the wake-up cannot be lost between.</remarks>
    public void SleepUntil()
    {
        Label sleep = C.CreateLabel(), done = C.CreateLabel();
        C.mov(Absolute(_deadline), rdi);
        C.mov(Absolute(_woken), 0);
        C.Label(ref sleep);
        MaskUpcall();
        C.cmp(Absolute(_woken), 0);
        C.jne(done);
        C.mov(rax, Absolute(_deadline));
        C.mov(Absolute(Argument + SingleshotTimer.TimeoutAbs), rax);
        C.mov(__dword_ptr[(long)Argument + SingleshotTimer.Flags], 0);
        Set(rdi, (ulong)VcpuOp.SetSingleshotTimer);
        Set(rsi, 0);
        Set(rdx, Argument);
        Hypercall(Sdk.Xen.Hypercall.VcpuOp);
        RequireZero(GuestError.HypercallRefused);
        Hypercall(Sdk.Xen.Hypercall.SchedOp, (int)SchedOp.Block, 0);
        C.jmp(sleep);
        C.Label(ref done);
        C.zero_bytes();
    }

    public void MaskUpcall() => C.mov(__byte_ptr[(long)_shared + VcpuInfo.UpcallMask], 1);

    private void EmitTime()
    {
        if (_shared != 0)
            EmitNow();
        if (_timeUsed)
            EmitEventEntry();
    }

    private void EmitNow()
    {
        long time = (long)_shared + SharedInfo.VcpuInfo + VcpuInfo.Time;
        Label right = C.CreateLabel(), scale = C.CreateLabel();
        C.Label(ref _now);
        C.mov(r8d, __dword_ptr[time + VcpuTimeInfo.Version]);
        C.test(r8d, 1);
        C.jne(_now);
        C.lfence();
        C.rdtsc();
        C.shl(rdx, 32);
        C.or(rax, rdx);
        C.sub(rax, __qword_ptr[time + VcpuTimeInfo.TscTimestamp]);
        C.movsx(ecx, __byte_ptr[time + VcpuTimeInfo.TscShift]);
        C.test(ecx, ecx);
        C.js(right);
        C.shl(rax, cl);
        C.jmp(scale);
        C.Label(ref right);
        C.neg(ecx);
        C.shr(rax, cl);
        C.Label(ref scale);
        C.mov(ecx, __dword_ptr[time + VcpuTimeInfo.TscToSystemMul]);
        C.mul(rcx);
        C.shrd(rax, rdx, 32);
        C.add(rax, __qword_ptr[time + VcpuTimeInfo.SystemTime]);
        C.lfence();
        C.cmp(r8d, __dword_ptr[time + VcpuTimeInfo.Version]);
        C.jne(_now);
        C.ret();
    }

    // The frame, low to high: rcx, r11, rip, cs, rflags, rsp, ss. The clock is read first: what follows is not latency.
    private void EmitEventEntry()
    {
        Label done = C.CreateLabel();
        C.Label(ref _eventEntry);
        AssemblerRegister64[] saved = [rax, rdx, rdi, rsi, r8];
        foreach (AssemblerRegister64 register in saved)
            C.push(register);
        Now();
        C.mov(__byte_ptr[(long)_shared + VcpuInfo.UpcallPending], 0);
        Set(rcx, 0);
        C.xchg(__qword_ptr[(long)_shared + VcpuInfo.PendingSelector], rcx);
        C.mov(rcx, Absolute(_ports));
        C.btr(__qword_ptr[(long)_shared + SharedInfo.EventPending], rcx);
        C.jae(done);
        C.mov(rdi, rax);
        C.sub(rdi, Absolute(_deadline));
        C.js(done);
        C.cmp(Absolute(_woken), 0);
        C.jne(done);
        C.mov(Absolute(_woken), 1);
        EmitRecord();
        C.Label(ref done);
        foreach (AssemblerRegister64 register in saved.Reverse())
            C.pop(register);
        ReturnFromEntry();
        C.Label(ref _failsafeEntry);
        C.mov(rsi, __qword_ptr[rsp + 48]);
        Fail(GuestError.UnexpectedTrap);
    }

    // Counts the latency in RDI as LatencyHistogram.BucketOf does.
    private void EmitRecord()
    {
        Label notLonger = C.CreateLabel(), small = C.CreateLabel();
        C.inc(Report(ReportLayout.LatencyCount));
        C.add(Report(ReportLayout.LatencySum), rdi);
        C.cmp(rdi, Report(ReportLayout.LatencyMax));
        C.jbe(notLonger);
        C.mov(Report(ReportLayout.LatencyMax), rdi);
        C.Label(ref notLonger);
        Set(rax, LatencyHistogram.MaxValue);
        C.cmp(rax, rdi);
        C.cmova(rax, rdi);
        C.cmp(rax, 32);
        C.jb(small);
        C.bsr(rcx, rax);
        C.sub(ecx, 5);
        C.shr(rax, cl);
        C.shl(ecx, 5);
        C.add(eax, ecx);
        C.Label(ref small);
        C.inc(__dword_ptr[(rax * 4) + (unchecked((long)GuestImage.Report) + ReportLayout.Histogram)]);
    }

    /// <summary>Back to what an event interrupted; the stack is as at entry. The hypercall page's own stub pushes rcx, r11 and rax.</summary>
    public void ReturnFromEntry()
    {
        C.pop(rcx);
        C.pop(r11);
        C.push(0);
        C.jmp(GuestImage.HypercallPage + (32UL * (ulong)Sdk.Xen.Hypercall.Iret));
    }
}
