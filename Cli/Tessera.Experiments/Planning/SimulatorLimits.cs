using Tessera.Experiments.Configuration;

namespace Tessera.Experiments.Planning;

/// <summary>What a configuration asks for and virtual time does not have: it is left out, and said.</summary>
public static class SimulatorLimits
{
    /// <summary>A line for each list of devices that is left out, with the place where it stands.</summary>
    public static IEnumerable<string> LeftOut(Experiment experiment)
    {
        foreach (DomainSettings domain in experiment.Domains)
        {
            if (domain.Disks.Count > 0)
                yield return Line(experiment, domain.Disks[0].Path, "disks", domain);
            if (domain.Nics.Count > 0)
                yield return Line(experiment, domain.Nics[0].Path, "networks", domain);
        }
    }

    private static string Line(Experiment experiment, string first, string what, DomainSettings domain)
    {
        string path = first[..first.LastIndexOf('[')];
        string key = path[(path.LastIndexOf('.') + 1)..];
        return $"{experiment.Document.Nearest(path).Position}: {path}: The simulator has no {what}: the {key} of \"{domain.Name}\" are left out.";
    }
}
