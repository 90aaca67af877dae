using System.Text.Json;
using Tessera.Cli.Tests.Support;

namespace Tessera.Cli.Tests.Verbs;

/// <summary>
/// The files of `sweep submit`: what they say, that shells and YAML's readers take them, and that nothing is called but with --go.
/// </summary>
internal sealed class SweepSubmitTests
{
    private SweepFolder _sweep = null!;

    [SetUp]
    public void MakeFolder() => _sweep = new SweepFolder();

    [TearDown]
    public void RemoveFolder() => _sweep.Dispose();

    [Test]
    public void Slurm_gets_an_array_and_a_merge_that_waits_for_it()
    {
        _sweep.Plan("quickstart.json", "--repeat", "10");
        (int code, string written, string said) = Submit("--slurm", "--cells-per-task", "4", "--tessera", "/opt/it's/tessera");
        string array = Text("array.sbatch"), merge = Text("merge.sbatch"), submit = Text("submit.sh");
        Assert.Multiple(() =>
        {
            Assert.That(code, Is.Zero, said);
            Assert.That(written.Split('\n', StringSplitOptions.RemoveEmptyEntries)
                .Select(Path.GetFileName), Is.EqualTo(new[] { "array.sbatch", "merge.sbatch", "submit.sh" }));
            Assert.That(said, Does.Contain("nothing was submitted"));
            Assert.That(array, Does.Contain("#SBATCH --array=0-2\n").And.Contain("#SBATCH --requeue\n").And.Contain(
                "#SBATCH --cpus-per-task=1\n").And.Not.Contain("--constraint"));
            Assert.That(array, Does.Contain("first=$((SLURM_ARRAY_TASK_ID * 4 + 1))\nlast=$((first + 3))\n"));
            Assert.That(array, Does.Contain($"exec '/opt/it'\\''s/tessera' sweep run '{_sweep.Path}' --cells \"$first-$last\""));
            Assert.That(merge, Does.Contain($"sweep merge '{_sweep.Path}'"));
            Assert.That(submit, Does.Contain("--dependency=afterany:\"$array\""));
            AreShell("array.sbatch", "merge.sbatch", "submit.sh");
        });
    }

    [TestCase("kvm", true)]
    [TestCase("software", false)]
    public void KVM_is_asked_for_where_cells_need_it(string engine, bool isNeeded)
    {
        using Support.Cli cli = new();
        string[] design = [Repository.Sample("quickstart.json"), "--engine", engine, "--scheduler", "bvt,round-robin", "--repeat", "3",
            "--set", "machine.pcpus=2"];
        Assert.That(cli.Run(["sweep", "plan", .. design, "--out", _sweep.Path]), Is.Zero, cli.Error);
        Assert.That(Submit("--slurm").Code, Is.Zero);
        string array = Text("array.sbatch");
        Assert.That(Submit("--kubernetes").Code, Is.Zero);
        Assert.Multiple(() =>
        {
            // A repetition is a task, so that hosts are blocks; two CPUs are guests'.
            Assert.That(array, Does.Contain("#SBATCH --array=0-2\n").And.Contain("#SBATCH --cpus-per-task=3\n"));
            Assert.That(array.Contains("#SBATCH --constraint=kvm\n", StringComparison.Ordinal), Is.EqualTo(isNeeded));
            Assert.That(Text("job.yaml").Contains("devices.kubevirt.io/kvm: \"1\"", StringComparison.Ordinal), Is.EqualTo(isNeeded));
            Assert.That(Path.Combine(_sweep.Path, "submit", "array.sbatch"), Does.Not.Exist, "the files of another target");
        });
    }

    [Test]
    public void Kubernetes_gets_an_indexed_job()
    {
        _sweep.Plan("quickstart.json", "--repeat", "10");
        (int code, _, string said) = Submit("--kubernetes", "--cells-per-task", "3", "--image", "registry/tessera:1", "--volume",
            "results", "--queue", "lab");
        Assert.That(code, Is.Zero, said);
        Assert.That(said, Does.Contain("quickstart.json is not in").And.Contain("pods see nothing else"));
        AreShell("submit.sh");
        using JsonDocument job = Yaml("job.yaml");
        using JsonDocument merge = Yaml("merge.yaml");
        JsonElement spec = job.RootElement.GetProperty("spec");
        JsonElement pod = spec.GetProperty("template").GetProperty("spec");
        JsonElement container = pod.GetProperty("containers")[0];
        Assert.Multiple(() =>
        {
            Assert.That(job.RootElement.GetProperty("apiVersion").GetString(), Is.EqualTo("batch/v1"));
            Assert.That(job.RootElement.GetProperty("metadata").GetProperty("labels").GetProperty("kueue.x-k8s.io/queue-name")
                .GetString(), Is.EqualTo("lab"));
            Assert.That(spec.GetProperty("completionMode").GetString(), Is.EqualTo("Indexed"));
            Assert.That((spec.GetProperty("completions").GetInt32(), spec.GetProperty("backoffLimitPerIndex").GetInt32()),
                Is.EqualTo((4, 3)));
            Assert.That(pod.GetProperty("restartPolicy").GetString(), Is.EqualTo("Never"), "what backoffLimitPerIndex asks for");
            Assert.That(container.GetProperty("image").GetString(), Is.EqualTo("registry/tessera:1"));
            Assert.That(container.GetProperty("command")[2]
                .GetString(), Is.EqualTo(
                $"first=$((JOB_COMPLETION_INDEX * 3 + 1)); exec 'tessera' sweep run '{_sweep.Path}' --cells \"$first-$((first + 2))\""));
            Assert.That(container.GetProperty("volumeMounts")[0].GetProperty("mountPath").GetString(), Is.EqualTo(_sweep.Path));
            Assert.That(pod.GetProperty("volumes")[0].GetProperty("persistentVolumeClaim").GetProperty("claimName")
                .GetString(), Is.EqualTo("results"));
            Assert.That(merge.RootElement.GetProperty("spec").GetProperty("template").GetProperty("spec").GetProperty("containers")[0]
                .GetProperty("command").EnumerateArray()
                .Select(word => word.GetString()), Is.EqualTo(new[] { "tessera", "sweep", "merge", _sweep.Path }));
        });
    }

    /// <summary>A stand-in for each program, first on the path: it keeps what it was called with.</summary>
    [TestCase("--slurm", "sbatch", 2)]
    [TestCase("--kubernetes", "kubectl", 1)]
    [TestCase("--parallel", "parallel", 1)]
    public void Only_go_submits(string target, string program, int calls)
    {
        _sweep.Plan("quickstart.json", "--repeat", "1");
        string bin = _sweep.Beside("bin"), called = _sweep.Beside("called");
        Directory.CreateDirectory(bin);
        foreach (string name in new[] { program, "tessera" })
            SweepFolder.Program(Path.Combine(bin, name),
                $"echo \"$@\" >> '{(name == program ? called : _sweep.Beside("merged"))}'\necho 4711");

        Assert.That(Submit(target).Code, Is.Zero);
        Assert.That(called, Does.Not.Exist);
        using Support.Cli cli = new() { Environment = { ["PATH"] = $"{bin}:/usr/bin:/bin" } };
        Assert.That(cli.Run("sweep", "submit", _sweep.Path, target, "--go"), Is.Zero, cli.Error);
        Assert.That(File.ReadAllLines(called), Has.Length.EqualTo(calls));
        using Support.Cli without = new() { Environment = { ["PATH"] = _sweep.Beside("nothing") } };
        Assert.Multiple(() =>
        {
            Assert.That(without.Run("sweep", "submit", _sweep.Path, target, "--go"), Is.EqualTo(3));
            Assert.That(without.Error, Does.Contain($"{program} is not on this host").And.Contain("submit.sh"));
        });
    }

    [TestCase]
    [TestCase("--slurm", "--parallel")]
    public void One_target_is_named(params string[] targets)
    {
        (int code, _, string error) = Submit(targets);
        Assert.That((code, error.Contains("one of --slurm, --kubernetes and --parallel", StringComparison.Ordinal)), Is.EqualTo((2, true)),
            error);
    }

    /// <summary>The real GNU parallel makes a sweep where it is there.</summary>
    [Test]
    public void GNU_parallel_makes_a_sweep()
    {
        if (!File.Exists("/usr/bin/parallel"))
            Assert.Ignore("GNU parallel is not on this host (Debian's package parallel).");
        string[] design = ["--repeat", "5", "--stagger", "20 ms"];
        _sweep.Plan("quickstart.json", design);
        string tessera = SweepFolder.Program(_sweep.Beside("tessera"), $"exec dotnet '{Child.Program}' \"$@\"");
        Assert.That(Submit("--parallel", "--cells-per-task", "2", "--tessera", tessera).Code, Is.Zero);
        AreShell("submit.sh");
        (int code, _, string error) = Child.Run("sh", _sweep.Path, [], "", Path.Combine(_sweep.Path, "submit", "submit.sh"));
        Assert.That(code, Is.Zero, error);
        Assert.That(SweepFolder.Figures(_sweep.Path), Is.EqualTo(_sweep.Compared("quickstart.json", design)));
    }

    private (int Code, string Out, string Error) Submit(params string[] arguments)
    {
        using Support.Cli cli = new();
        int code = cli.Run(["sweep", "submit", _sweep.Path, .. arguments]);
        return (code, cli.Out, cli.Error);
    }

    private string Text(string file) => File.ReadAllText(Path.Combine(_sweep.Path, "submit", file));

    private void AreShell(params string[] files)
    {
        foreach (string file in files)
        {
            (int code, _, string error) = Child.Run("bash", _sweep.Path, [], "", "-n", Path.Combine(_sweep.Path, "submit", file));
            Assert.That(code, Is.Zero, error);
        }
    }

    private JsonDocument Yaml(string file)
    {
        const string program = "import sys, json\ntry:\n    import yaml\nexcept ImportError:\n    "
            + "sys.exit(77)\njson.dump(yaml.safe_load(sys.stdin), sys.stdout)";
        if (!File.Exists("/usr/bin/python3"))
            Assert.Ignore("There is no python3 here to read YAML with.");
        (int code, string json, string error) = Child.Run("python3", _sweep.Path, [], Text(file), "-c", program);
        if (code == 77)
            Assert.Ignore("There is no YAML reader here (Debian's package python3-yaml).");
        Assert.That(code, Is.Zero, error);
        return JsonDocument.Parse(json);
    }
}
