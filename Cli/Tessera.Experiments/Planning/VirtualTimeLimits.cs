namespace Tessera.Experiments.Planning;

/// <summary>What virtual time cannot repeat: it is refused before anything is begun.</summary>
public static class VirtualTimeLimits
{
    /// <summary>Refuses what cannot be repeated.</summary>
    /// <exception cref="UsageException">The run cannot be recorded or replayed, or a device reaches outside and is neither.</exception>
    public static void Check(PreparedExperiment prepared)
    {
        RecordingFiles? files = prepared.Recording;
        if (files is not null && prepared.Experiment.Machine.VirtualTime is null)
            throw new UsageException($"--{(files.Record is null ? "replay" : "record")} is of what comes from outside in virtual time: add --time virtual.");
        if (files is { Record: not null, Replay: not null })
            throw new UsageException("--record and --replay exclude each other: a replay is what was recorded.");
        if (prepared.Experiment.Machine.VirtualTime is null)
            return;
        foreach (DomainPlan domain in prepared.Plan.Domains)
        {
            foreach (DiskPlan disk in domain.Disks)
            {
                if (disk.Backends.FirstOrDefault(backend => backend.Plugin.Info.ReachesOutside) is { } outside)
                    throw new UsageException($"{domain.Name}, disk {disk.Name}: {outside.Plugin.Info.Name} reaches outside the machine, which cannot be repeated in virtual time. Copy the disk into a file (raw-file), or use real time.");
            }

            foreach (NicPlan nic in domain.Nics)
            {
                if (files is null && nic.Backends.FirstOrDefault(backend => backend.Plugin.Info.ReachesOutside) is { } outside)
                    throw new UsageException($"{domain.Name}, interface {nic.Number}: {outside.Plugin.Info.Name} reaches outside the machine, which cannot be repeated in virtual time. Keep what comes from there with --record FILE, use a switch, or use real time.");
            }
        }
    }
}
