namespace Tessera.Sdk.Cpu;

/// <summary>Optional power of an <see cref="IGuestCpu"/>: its time-stamp counter is not the host's. Without it, RDTSC in the guest gives what RDTSC in the VMM gives.</summary>
public interface IShiftsCounter
{
    /// <summary>What RDTSC in the guest gives beyond the host's counter at the same instant, in ticks; the same for the CPU's whole life.</summary>
    long CounterShift { get; }
}
