using System.Globalization;
using System.Text;

namespace Tessera.Sdk.Conformance.Scenarios;

/// <summary>What happens to a machine, one step after another: what random checks generate, shrink, print and replay.</summary>
/// <param name="Check">The check it belongs to.</param>
/// <param name="Pcpus">Physical CPUs.</param>
/// <param name="Vcpus">vCPUs; all are there and asleep at the start.</param>
/// <param name="Steps">The steps.</param>
public sealed record Scenario(string Check, int Pcpus, int Vcpus, IReadOnlyList<ScenarioStep> Steps)
{
    private const string Heading = "# Tessera scheduler scenario 1";

    /// <summary>The replayable file: a heading, the machine, a line for each step.</summary>
    public override string ToString()
    {
        StringBuilder text = new();
        text.AppendLine(Heading).AppendLine(CultureInfo.InvariantCulture, $"check {Check}").AppendLine(CultureInfo.InvariantCulture, $"pcpus {Pcpus}").AppendLine(CultureInfo.InvariantCulture, $"vcpus {Vcpus}");
        foreach (ScenarioStep step in Steps)
            text.AppendLine(step.ToString());
        return text.ToString();
    }

    /// <summary>Reads a replayable file's text.</summary>
    /// <exception cref="FormatException">It is none; the message names the line.</exception>
    public static Scenario Parse(string text)
    {
        string check = "";
        int pcpus = 0;
        int vcpus = 0;
        List<ScenarioStep> steps = [];
        int number = 0;
        foreach (string line in text.Split('\n'))
        {
            number++;
            string[] words = line.Trim().Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (words.Length == 0 || words[0][0] == '#')
                continue;
            if (words is ["check", var name])
                check = name;
            else if (words is ["pcpus", var count] && int.TryParse(count, CultureInfo.InvariantCulture, out pcpus) && pcpus is >= 1 and <= 64)
                continue;
            else if (words is ["vcpus", var most] && int.TryParse(most, CultureInfo.InvariantCulture, out vcpus) && vcpus is >= 1 and <= 1000)
                continue;
            else if (ScenarioStep.Parse(words) is { } step && step.Vcpu < vcpus)
                steps.Add(step);
            else
                throw new FormatException($"line {number}: \"{line.Trim()}\" is no part of a scenario; one reads like \"wake 3\" or \"advance 5000000\" after the lines check, pcpus and vcpus.");
        }

        return check.Length > 0 && pcpus > 0 && vcpus > 0 ? new(check, pcpus, vcpus, steps) : throw new FormatException("A scenario begins with the lines check NAME, pcpus N and vcpus N.");
    }
}

/// <summary>The kinds of step; each says what its argument is.</summary>
public enum StepKind
{
    /// <summary>A vCPU wakes.</summary>
    Wake,

    /// <summary>A vCPU blocks.</summary>
    Sleep,

    /// <summary>A vCPU blocks and is woken before its physical CPU noticed.</summary>
    Nap,

    /// <summary>A vCPU is paused.</summary>
    Pause,

    /// <summary>One pause of a vCPU is taken back.</summary>
    Resume,

    /// <summary>A vCPU yields if it runs.</summary>
    Yield,

    /// <summary>A vCPU is removed and another takes its number, asleep.</summary>
    Replace,

    /// <summary>A vCPU's weight becomes the argument.</summary>
    Weight,

    /// <summary>A vCPU's affinity becomes the argument's bits; none means everywhere.</summary>
    Affinity,

    /// <summary>A vCPU gets a fresh record of default per-domain options.</summary>
    Options,

    /// <summary>A physical CPU (the argument) decides without need.</summary>
    Decide,

    /// <summary>Time passes, ns; physical CPUs decide when they are due.</summary>
    Advance,

    /// <summary>Time passes, ns, and nobody decides: the running vCPUs overrun their slices.</summary>
    Overrun,

    /// <summary>Time passes, ns, while every vCPU is paused: the machine was suspended.</summary>
    Jump,
}

/// <summary>One step.</summary>
/// <param name="Kind">What happens.</param>
/// <param name="Vcpu">To which vCPU; 0 where it does not matter.</param>
/// <param name="Argument">How much; 0 where it does not matter.</param>
public readonly record struct ScenarioStep(StepKind Kind, int Vcpu = 0, long Argument = 0)
{
    /// <summary>Whether the step is about a vCPU.</summary>
    public bool HasVcpu => Kind is not (StepKind.Decide or StepKind.Advance or StepKind.Overrun or StepKind.Jump);

    /// <summary>Whether the step has an argument.</summary>
    public bool HasArgument => Kind is StepKind.Weight or StepKind.Affinity || !HasVcpu;

    /// <inheritdoc/>
    public override string ToString()
    {
        string name = Kind.ToString().ToLowerInvariant();
        string vcpu = HasVcpu ? $" {Vcpu}" : "";
        return HasArgument ? $"{name}{vcpu} {Argument}" : name + vcpu;
    }

    /// <summary>A line's words as a step; null when they are none.</summary>
    internal static ScenarioStep? Parse(string[] words)
    {
        if (!Enum.TryParse(words[0], ignoreCase: true, out StepKind kind) || char.IsAsciiDigit(words[0][0]))
            return null;
        ScenarioStep step = new(kind);
        if (words.Length != 1 + (step.HasVcpu ? 1 : 0) + (step.HasArgument ? 1 : 0))
            return null;
        int vcpu = 0;
        long argument = 0;
        if (step.HasVcpu && !int.TryParse(words[1], NumberStyles.None, CultureInfo.InvariantCulture, out vcpu))
            return null;
        if (step.HasArgument && !long.TryParse(words[^1], NumberStyles.None, CultureInfo.InvariantCulture, out argument))
            return null;
        return new(kind, vcpu, argument);
    }
}
