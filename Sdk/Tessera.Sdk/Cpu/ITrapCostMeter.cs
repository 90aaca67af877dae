namespace Tessera.Sdk.Cpu;

/// <summary>An optional capability of a <see cref="ICpuEngine"/>: it can measure on the spot what its traps cost, for `tessera doctor`.</summary>
public interface ITrapCostMeter
{
    /// <summary>Runs small ring-3 loops in a scratch machine and times each kind of trap. Any thread; takes well under two seconds.</summary>
    /// <exception cref="EngineException">The host refused what a machine needs.</exception>
    IReadOnlyList<TrapCost> MeasureTrapCosts();
}

/// <summary>What one kind of trap costs on this host: guest instruction, way to the VMM, way back.</summary>
/// <param name="Trap">The kind, in words.</param>
/// <param name="MedianNs">Median in nanoseconds.</param>
/// <param name="MinNs">Least in nanoseconds.</param>
/// <param name="Samples">How many were timed.</param>
public readonly record struct TrapCost(string Trap, double MedianNs, double MinNs, int Samples);
