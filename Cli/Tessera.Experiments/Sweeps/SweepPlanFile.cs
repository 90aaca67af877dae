using System.Text.Json;
using System.Text.Json.Serialization;
using Tessera.Experiments.Comparisons;
using Tessera.Lab;
using Tessera.Lab.Comparisons;
using Tessera.Lab.Folders;

namespace Tessera.Experiments.Sweeps;

/// <summary>A plan as a sweep's folder keeps it.</summary>
public static class SweepPlanFile
{
    /// <summary>The file's name.</summary>
    public const string Name = "plan.json";

    /// <summary>Writes a plan.</summary>
    public static void Write(UntrustedFolder files, SweepPlan plan) =>
        files.WriteText(Name, JsonSerializer.Serialize(plan, SweepPlanJson.Context.SweepPlan) + "\n");

    /// <summary>Reads a plan. Whatever it says, its cells have the names of runs, and what belongs together does.</summary>
    /// <exception cref="UsageException">There is none, or it is none.</exception>
    public static SweepPlan Read(UntrustedFolder files)
    {
        if (!files.HasFile(Name))
            throw new UsageException($"{files.Path}: there is no {Name} here. Make one: tessera sweep plan CONFIG --out {files.Path}");
        try
        {
            SweepPlan plan = JsonSerializer.Deserialize(files.ReadBytes(Name), SweepPlanJson.Context.SweepPlan)
                ?? throw new JsonException("It holds null.");
            if (plan.Schema != SweepPlan.Format)
                throw new JsonException($"Its \"schema\" is \"{RunStore.Plain(plan.Schema)}\"; a plan has \"{SweepPlan.Format}\".");
            if (Fault(plan) is { } fault)
                throw new JsonException(fault);
            return plan;
        }
        catch (JsonException e)
        {
            throw new UsageException($"{Path.Combine(files.Path, Name)}: this is not the plan of a sweep: {RunStore.Plain(e.Message)} Plan again; runs "
                + "that are there already are kept.");
        }
    }

    private static string? Fault(SweepPlan plan)
    {
        if (plan.Engines.Count == 0 || plan.Engines.Any(engine => engine is not (ComparisonEngines.Machine or ComparisonEngines.Simulated)))
            return "Its \"engines\" are not machine or simulated.";
        if (plan.Engines.Contains(ComparisonEngines.Simulated) && plan.Costs is null)
            return "It simulates and has no \"costs\".";
        if (plan.Repeat < 1 || plan.StaggerNs < 0)
            return "Its \"repeat\" or \"staggerNs\" is out of range.";
        if (plan.Seconds is not
            {
                Window: null or (>= 0 and <= RunStore.MostSeconds),
                Simulated: null or (>= 0 and <= RunStore.MostSeconds)
            })
            return "Its \"seconds\" are out of range.";
        if (plan.Edits.Concat(plan.Models).Any(text => text is null)
            || plan.Factors.Any(factor => factor is not { Path: not null, Values: not null }))
            return "A text or a factor is missing.";
        if (plan.Variants.Any(variant =>
            variant is not { Scheduler: not null, Values: not null, Varied: not null, CpuEngine: not null, Pcpus: >= 0 }
            || variant.Values.Any(value => value is not { Path: not null, Value: not null }) || variant.Varied.Any(text => text is null)))
            return "One of its \"variants\" is not whole.";
        IEnumerable<string> shown = plan.Variants.SelectMany(variant =>
            variant.Values.SelectMany(value => new[] { value.Path, value.Value })
                .Concat([variant.Scheduler, variant.Plugin ?? "", variant.CpuEngine]));
        if (shown.Append(plan.ConfigurationName).Append(plan.Configuration).Any(text => text.Any(char.IsControl)))
            return "A name or value of it has control characters.";
        HashSet<string> names = [];
        for (int index = 0; index < plan.Cells.Count; index++)
        {
            if (plan.Cells[index] is not { Content: not null, Name: not null } cell || cell.Number != index + 1 || cell.Repetition < 1
                || cell.Variant < 0 || cell.Variant >= plan.Variants.Count || !plan.Engines.Contains(cell.Engine))
                return $"Cell {index + 1} is not whole.";
            if (!RunStore.IsName(cell.Name) || !names.Add(cell.Name))
                return $"The name of cell {index + 1} is not that of a run, or another cell has it.";
        }

        return plan.Cells.Count == 0 ? "It has no cells." : null;
    }
}

/// <summary>Serialisation of <see cref="SweepPlan"/>.</summary>
[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    RespectNullableAnnotations = true)]
[JsonSerializable(typeof(SweepPlan))]
internal sealed partial class SweepPlanJson : JsonSerializerContext
{
    public static SweepPlanJson Context { get; } = new(new JsonSerializerOptions(JsonForm.Options()) { RespectNullableAnnotations = true });
}
