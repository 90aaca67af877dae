using System.Diagnostics;
using Tessera.Cli.Terminal;
using Tessera.Experiments;
using Tessera.Experiments.Sweeps;
using Tessera.Lab.Folders;

namespace Tessera.Cli.Verbs;

/// <summary>What `sweep submit` does: writes the files, and calls what submits them only when told to.</summary>
internal sealed class SweepSubmitCommand(CliHost host)
{
    private const string Folder = "submit";
    private static readonly string[] Names = ["array.sbatch", "merge.sbatch", "job.yaml", "merge.yaml", SubmitFiles.Script];

    /// <summary>Writes the files into DIR/submit.</summary>
    /// <param name="request">How the sweep is handed over.</param>
    /// <param name="go">Whether to submit them.</param>
    /// <returns>The exit code.</returns>
    public int Submit(SubmitRequest request, bool go)
    {
        UntrustedFolder files = new(request.Folder);
        SweepPlan plan = SweepPlanFile.Read(files);
        IReadOnlyList<SubmitFile> written = SubmitFiles.Of(plan, request);
        SayWhatIsNotThere(plan, request);
        files.MakeFolder(Folder);
        foreach (string name in Names)
            files.RemoveFile($"{Folder}/{name}");
        foreach (SubmitFile file in written)
        {
            files.WriteText($"{Folder}/{file.Name}", file.Text);
            host.Out.WriteLine(Path.Combine(request.Folder, Folder, file.Name));
        }

        string script = Path.Combine(request.Folder, Folder, SubmitFiles.Script);
        if (go)
            return Go(request.Target, script);
        host.Error.WriteLine($"tessera: nothing was submitted. Read the files; then: sh {script}, or the same command with --go.");
        return ExitCode.Good;
    }

    private void SayWhatIsNotThere(SweepPlan plan, SubmitRequest request)
    {
        string[] needed = [.. plan.Variants.Select(variant => variant.Plugin).OfType<string>().Where(Path.IsPathRooted)
            .Append(plan.Configuration).Distinct()];
        if (request.Target == SubmitTarget.Kubernetes
            && needed.FirstOrDefault(file => !file.StartsWith(request.Folder + "/", StringComparison.Ordinal)) is { } outside)
            host.Error.WriteLine($"tessera: {outside} is not in {request.Folder}, and pods see nothing else of this host. Copy it there "
                + "and plan again with the copy, or put it into the image at this path.");
        if (request.Target != SubmitTarget.Kubernetes && !IsThere(request.Command))
            host.Error.WriteLine(
                $"tessera: there is no program {request.Command} here. Name the one that the hosts have: --tessera /path/to/tessera");
    }

    private int Go(SubmitTarget target, string script)
    {
        (string program, string package) = target switch
        {
            SubmitTarget.Slurm => ("sbatch", "slurm-client"),
            SubmitTarget.Kubernetes => ("kubectl", "kubernetes-client"),
            _ => ("parallel", "parallel"),
        };
        if (!IsThere(program))
        {
            host.Error.WriteLine($"tessera: {program} is not on this host. Install it (on Debian: {package}), or run sh {script} where it "
                + "is; the files are written.");
            return ExitCode.HostCannot;
        }

        ProcessStartInfo start = new("/bin/sh") { RedirectStandardOutput = true, RedirectStandardError = true };
        start.ArgumentList.Add(script);
        if (host.Environment("PATH") is { } path)
            start.Environment["PATH"] = path;
        using Process process = Process.Start(start)!;
        process.OutputDataReceived += (_, line) => Say(host.Out, line.Data);
        process.ErrorDataReceived += (_, line) => Say(host.Error, line.Data);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        process.WaitForExit();
        if (process.ExitCode == 0)
            return ExitCode.Good;
        host.Error.WriteLine($"tessera: {script} ended with {process.ExitCode}; what it says is above.");
        return ExitCode.Failed;
    }

    private static void Say(TextWriter writer, string? line)
    {
        if (line is not null)
            writer.WriteLine(line);
    }

    private bool IsThere(string program) => program.Contains('/', StringComparison.Ordinal)
        ? File.Exists(program)
        : (host.Environment("PATH") ?? "").Split(':').Any(folder => folder.Length > 0 && File.Exists(Path.Combine(folder, program)));
}
