using Tessera.Simulation.Bench;

const string usage = """
    usage: Tessera.Simulation.Bench speed [POLICY...]
               decisions a second of the simulator on one core (bvt and round-robin unless named)
           Tessera.Simulation.Bench cost [--plot FILE.svg] [POLICY...]
               host time of a decision inside each policy, by number of vCPUs
           Tessera.Simulation.Bench cold [POLICY...]
               the same with 128 vCPUs, caches warm and cold
    """;
List<string> words = [.. args];
string? plot = null;
int option = words.IndexOf("--plot");
if (option >= 0 && option + 1 < words.Count)
{
    plot = words[option + 1];
    words.RemoveRange(option, 2);
}

string[] names = [.. words.Skip(1)];
string[] unknown = [.. names.Except(Policies.All.Select(static policy => policy.Name))];
if (unknown.Length > 0)
{
    Console.Error.WriteLine($"no policy {unknown[0]}; there are {string.Join(", ", Policies.All.Select(static policy => policy.Name))}");
    return 2;
}

switch (words.FirstOrDefault())
{
    case "speed":
        SpeedBench.Run(names.Length > 0 ? names : ["bvt", "round-robin"]);
        return 0;
    case "cost":
        IReadOnlyList<(string, CostPoint[])> found = CostBench.Run(names.Length > 0 ? names : Policies.All.Select(static policy => policy.Name));
        if (plot is not null)
            File.WriteAllText(plot, CostPlot.Draw(found));
        return 0;
    case "cold":
        CostBench.RunCold(names.Length > 0 ? names : Policies.All.Select(static policy => policy.Name));
        return 0;
    default:
        Console.Error.WriteLine(usage);
        return 2;
}
