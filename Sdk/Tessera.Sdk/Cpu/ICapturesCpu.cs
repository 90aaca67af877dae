using Tessera.Sdk.Cpu.X64;

namespace Tessera.Sdk.Cpu;

/// <summary>
/// Optional power of an <see cref="IGuestCpu"/>: gives and takes all that guest code has in the CPU beyond <see cref="GuestCpuState"/>, which is x87 (MMX with it), MXCSR and vector
/// registers. So a vCPU can be kept, compared, and put into another machine, of this engine or another.
/// </summary>
/// <remarks>
/// A capture is the processor's XSAVE area in the standard format (<see cref="XsaveArea"/> says where things lie). It says as little as it can: XSTATE_BV names the components that are
/// not in their initial state and nothing else, reserved bytes are 0, and every component has its value there, an initial one too. So equal states are equal bytes.
/// <para>
/// One thread at a time, and never while the CPU is in <see cref="IGuestCpu.Run"/>; before the first Run it is the initial state. <see cref="GuestCpuState"/> belongs to it only after a trap that
/// <see cref="Trap.IsInterruptible"/>. Not part of it are descriptor tables and, in a machine with a <see cref="GuestMachineLayout.Time"/>, how far its random numbers have got. Nothing is allocated.
/// </para>
/// </remarks>
public interface ICapturesCpu
{
    /// <summary>Bytes of a capture, the same for the CPU's whole life: 576, with AVX 832, and more where guests have components behind it.</summary>
    int CaptureBytes { get; }

    /// <summary>Takes the state out; the CPU keeps it.</summary>
    /// <param name="area">Where to, exactly <see cref="CaptureBytes"/> long; all of it is written.</param>
    /// <exception cref="ArgumentException">It has another length: nothing is written.</exception>
    /// <exception cref="EngineException">The host refused.</exception>
    void Capture(Span<byte> area);

    /// <summary>
    /// Puts a state in, as XRSTOR does: a component that XSTATE_BV does not name gets its initial state, and MXCSR counts whatever XSTATE_BV says. The next Run goes on with it.
    /// </summary>
    /// <param name="area">
    /// A capture, or another XSAVE area in the standard format; at least as long as the components that it names take. What lies behind them is not looked at, so that a capture of an engine with
    /// more components can be put into one with less, as long as the guest does not use what that lacks.
    /// </param>
    /// <exception cref="ArgumentException">What is wrong with it: too short, a component that guests do not have here, a reserved bit of MXCSR, a header of another format. The state is as before.</exception>
    /// <exception cref="EngineException">The host refused.</exception>
    void Restore(ReadOnlySpan<byte> area);
}
