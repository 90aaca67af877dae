using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Simulation;

namespace Tessera.Sdk.Conformance.Checks;

/// <summary>Shares by weight.</summary>
internal sealed class ShareCheck : Check
{
    private const int WeightStep = 64;

    public ShareCheck()
        : base("shares", "CPU-bound vCPUs share by weight within the declared error.") => Needs = static declaration => declaration.ShareError is not null;

    public override CheckResult Run(Subject subject)
    {
        double allowed = subject.Declaration.ShareError!.Value;
        double worst = 0;
        string where = "";
        foreach (int pcpus in subject.Declaration.MultiCpu ? new[] { 1, 2 } : [1])
        {
            VirtualMachine machine = Simulated.Machine(subject, pcpus);
            SchedulableVcpu[] hogs = Simulated.Hogs(machine, 8, static index => WeightStep * (index + 1));
            double[] times = Simulated.CpuTimes(machine, hogs);
            if (Simulated.Ejected(machine) is { } ejected)
                return Failed(ejected);
            double total = hogs.Sum(static hog => hog.Domain.Weight);
            for (int index = 0; index < hogs.Length; index++)
            {
                double ideal = Simulated.Window.TotalSeconds * pcpus * hogs[index].Domain.Weight / total;
                double error = Math.Abs(times[index] - ideal) / ideal;
                if (error <= worst)
                    continue;
                worst = error;
                where = $"; the worst: weight {hogs[index].Domain.Weight} on {pcpus} pCPU(s) got {times[index]:0.000} s of an ideal {ideal:0.000} s";
            }
        }

        return Judge(worst <= allowed, $"weights 64 to 512 over {Simulated.Window}: error at most {worst:P2} (declared {allowed:P2}){where}");
    }
}

/// <summary>Caps, in percent of a physical CPU.</summary>
internal sealed class CapCheck : Check
{
    /// <summary>How far a cap may be missed, in points: "caps that hold within 1 point".</summary>
    private const double Tolerance = 1;

    public CapCheck()
        : base("caps", "A capped vCPU gets its cap and no more, within a point, and the watchdog knows of it.") => Needs = static declaration => declaration.CapOptions is not null;

    public override CheckResult Run(Subject subject)
    {
        List<string> found = [];
        bool holds = true;
        foreach (int cap in new[] { 10, 25, 40 })
        {
            foreach (bool alone in new[] { true, false })
            {
                VirtualMachine machine = Simulated.Machine(subject, 1);
                SchedulableVcpu capped = machine.Start(1, new CpuBoundWorkload(), options: subject.Declaration.CapOptions!(cap));
                if (!alone)
                    machine.Start(2, new CpuBoundWorkload());
                double got = Simulated.CpuTimes(machine, [capped])[0] / Simulated.Window.TotalSeconds * 100;
                if (Simulated.Ejected(machine) is { } ejected)
                    return Failed(ejected);
                holds &= Math.Abs(got - cap) <= Tolerance;
                found.Add($"{cap} % {(alone ? "alone" : "beside another")}: {got:0.00} %");
                double stated = machine.Core.EntitlementOf(capped).Limit * 100;
                if (Math.Abs(stated - cap) <= Tolerance)
                    continue;
                holds = false;
                found.Add($"its EntitlementOf says {stated:0.00} %, so the watchdog and results do not know of the cap");
            }
        }

        VirtualMachine watched = Simulated.WatchedMachine(subject);
        watched.Start(1, new CpuBoundWorkload(), options: subject.Declaration.CapOptions!(1));
        watched.Start(2, new CpuBoundWorkload());
        watched.RunUntil(Simulated.Patience);
        if (Simulated.Ejected(watched) is { } waited)
            return Failed($"at a cap of 1 %, {waited}");
        return Judge(holds, string.Join(", ", found));
    }
}

/// <summary>Reserved CPU time.</summary>
internal sealed class ReservationCheck : Check
{
    /// <summary>How much of a reservation may be missed, in points.</summary>
    private const double Tolerance = 0.5;

    public ReservationCheck()
        : base("reservations", "A vCPU that reserved a slice of each period gets it beside others, and the watchdog knows of it.") => Needs = static declaration => declaration.ReservationOptions is not null;

    public override CheckResult Run(Subject subject)
    {
        List<string> found = [];
        bool holds = true;
        foreach ((int period, int slice) in new[] { (100, 30), (20, 8), (10, 2) })
        {
            VirtualMachine machine = Simulated.Machine(subject, 1);
            object options = subject.Declaration.ReservationOptions!(Nanoseconds.FromMilliseconds(period), Nanoseconds.FromMilliseconds(slice));
            SchedulableVcpu reserved = machine.Start(1, new CpuBoundWorkload(), options: options);
            for (int other = 2; other <= subject.Declaration.VcpusPerPcpu; other++)
                machine.Start(other, new CpuBoundWorkload());
            double got = Simulated.CpuTimes(machine, [reserved])[0] / Simulated.Window.TotalSeconds * 100;
            if (Simulated.Ejected(machine) is { } ejected)
                return Failed(ejected);
            double promised = slice * 100.0 / period;
            holds &= got >= promised - Tolerance;
            found.Add($"{slice} of {period} ms ({promised:0} %): {got:0.00} %");
            double stated = machine.Core.EntitlementOf(reserved).Reserved * 100;
            if (Math.Abs(stated - promised) <= Tolerance)
                continue;
            holds = false;
            found.Add($"its EntitlementOf says {stated:0.00} %, so the watchdog and results do not know of the reservation");
        }

        VirtualMachine watched = Simulated.WatchedMachine(subject);
        watched.Start(1, new CpuBoundWorkload(), options: subject.Declaration.ReservationOptions!(Nanoseconds.FromSeconds(60), Nanoseconds.FromSeconds(5)));
        watched.Start(2, new CpuBoundWorkload());
        watched.RunUntil(Simulated.Patience);
        if (Simulated.Ejected(watched) is { } waited)
            return Failed($"with 5 s reserved in 60 s, {waited}");
        return Judge(holds, string.Join(", ", found));
    }
}
