using Tessera.Experiments.Hosts;
using Tessera.Experiments.Machines;
using Tessera.Experiments.Planning;
using Tessera.Experiments.Runs;
using Tessera.Sdk;

namespace Tessera.Cli.Tests.Support;

/// <summary>A host that withholds so much of each window, in order; of the windows after those, as much as of the last.</summary>
internal sealed class FakeDelay(params double[] secondsByWindow) : IHostDelay
{
    private Nanoseconds _sum;
    private int _reads;

    public Withheld? Read(IReadOnlyList<int> hostCpus)
    {
        // A window is read at its beginning and at its end.
        if (_reads++ % 2 == 1)
            _sum += Nanoseconds.FromSeconds(secondsByWindow[Math.Min((_reads / 2) - 1, secondsByWindow.Length - 1)]);
        return new Withheld(_sum, Nanoseconds.Zero);
    }
}

/// <summary>A machine anew for each run.</summary>
internal sealed class FakeMachines(FakePacer pacer) : IMachineFactory
{
    public List<FakeMachine> Made { get; } = [];

    public IRunMachine Create(PreparedExperiment prepared)
    {
        FakeMachine machine = new(pacer) { KeepsRecording = false };
        Made.Add(machine);
        return machine;
    }
}
