using Tessera.Experiments.Hosts;
using Tessera.Experiments.Planning;
using Tessera.Kernel.Machines;
using Tessera.Kernel.Time;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;

namespace Tessera.Experiments.Machines;

/// <summary>A machine whose input may be a person's: idle time passes no faster than theirs while it may come.</summary>
public interface ITakesInput
{
    /// <summary>Whether what comes from outside is a recording's.</summary>
    bool IsReplayed { get; }

    /// <summary>Asked whether input may come.</summary>
    Func<bool>? InputMayCome { get; set; }
}

/// <summary>The kernel's machine in virtual time: it goes on when the session waits, as far as the session waits.</summary>
internal sealed class VirtualKernelMachine : KernelMachine, IRunPacer, ITakesInput
{
    private readonly Machine _machine;
    private readonly IExperimentHost _host;
    private readonly RunRecording? _recording;

    /// <summary>Takes over a machine, its engine and the recording of what comes from outside.</summary>
    public VirtualKernelMachine(ICpuEngine engine, IReadOnlyList<int> hostCpus, Machine machine, IExperimentHost host, RunRecording? recording)
        : base(engine, hostCpus, machine, host.Duties)
    {
        (_machine, _host, _recording) = (machine, host, recording);
        if (recording is not null)
            machine.Outside!.Recorder = recording.Add;
    }

    /// <inheritdoc/>
    public bool IsReplayed => _machine.Outside!.IsReplayed;

    /// <inheritdoc/>
    public Func<bool>? InputMayCome
    {
        get => _machine.Outside!.MayCome;
        set => _machine.Outside!.MayCome = value;
    }

    /// <inheritdoc/>
    public bool WaitUntil(Nanoseconds instant)
    {
        _machine.RunUntil(instant, () => _host.IsStopRequested || Failure is not null);
        return _host.IsStopRequested || _machine.Outside!.IsOver;
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        _machine.Outside!.End();
        base.Dispose();
        _recording?.Dispose();
    }

    /// <summary>Whether something of the machine reaches outside.</summary>
    public static bool ReachesOutside(PreparedExperiment prepared) =>
        prepared.Plan.Domains.Any(domain => domain.Nics.Any(nic => nic.Backends.Any(backend => backend.Plugin.Info.ReachesOutside)));

    /// <summary>The parameters of its time: a run that is recorded begins at the host's wall clock, one that is replayed at the recording's.</summary>
    public static VirtualTimeOptions TimeOf(PreparedExperiment prepared, TimeProvider host, out IReadOnlyList<OutsideEvent>? replay)
    {
        VirtualTimeOptions time = prepared.Experiment.Machine.VirtualTime!;
        replay = null;
        if (prepared.Recording?.Replay is { } file)
        {
            replay = RunRecording.Read(file, prepared.Resolved, out DateTimeOffset wallClock);
            return time with { WallClock = wallClock };
        }

        bool isSaid = prepared.Experiment.Machine.Node.Find("virtualTime")?.Find("wallClock") is not null;
        return prepared.Recording?.Record is null || isSaid ? time : time with { WallClock = DateTimeOffset.FromUnixTimeSeconds(host.GetUtcNow().ToUnixTimeSeconds()) };
    }
}
