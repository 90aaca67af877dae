using System.Text.Json;
using Tessera.Cli.Terminal;
using Tessera.Cli.Tests.Support;

namespace Tessera.Cli.Tests.Control;

/// <summary>
/// A run with a control socket, in this process on a thread of its own. In virtual time it goes on as fast as the host can until every
/// domain is destroyed, so a test asks what it likes, and ends it with <see cref="End"/>.
/// </summary>
internal sealed class ControlledMachine : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("tc").FullName;
    private readonly Support.Cli _run;
    private readonly Thread _thread;
    private int _code = -1;
    private bool _isOver;

    private ControlledMachine(string verb, string socket, string[] arguments)
    {
        _run = new Support.Cli();
        Socket = socket == "auto" ? socket : Path.Combine(_folder, socket);
        Environment["XDG_RUNTIME_DIR"] = _folder;
        foreach ((string name, string value) in Environment)
            _run.Environment[name] = value;
        string[] all = [verb, .. arguments, "--control", Socket, "--json", "--quiet"];
        _thread = new Thread(() => _code = _run.Run(all));
        _thread.Start();
    }

    public string Socket { get; }

    /// <summary>What the run and everybody who asks it find in their environment.</summary>
    public Dictionary<string, string> Environment { get; } = [];

    /// <summary>Three CPU-bound domains, one, two, four, in virtual time.</summary>
    public static ControlledMachine Simulate(string socket = "s", params string[] arguments) =>
        Started(new ControlledMachine("simulate", socket, [Repository.Sample("quickstart.json"), "--seconds", "3000000000", .. arguments]));

    /// <summary>The same on an engine, one of <see cref="Engines"/>.</summary>
    public static ControlledMachine Run(string engine, params string[] arguments) =>
        Started(new ControlledMachine("run", "s", [Repository.Sample("quickstart.json"), "--engine", engine, "--seconds", "3000000000", .. arguments]));

    /// <summary>One `tessera ctl` in this process.</summary>
    public (int Code, string Out, string Error) Ctl(params string[] arguments)
    {
        using Support.Cli cli = new();
        foreach ((string name, string value) in Environment)
            cli.Environment[name] = value;
        string[] all = Socket == "auto" || arguments.Contains("--socket") ? ["ctl", .. arguments] : ["ctl", "--socket", Socket, .. arguments];
        int code = cli.Run(all);
        return (code, cli.Out, cli.Error);
    }

    /// <summary>One that must go well.</summary>
    public string Do(params string[] arguments)
    {
        (int code, string output, string error) = Ctl(arguments);
        Assert.That(code, Is.Zero, error + _run.Error);
        return output;
    }

    /// <summary>The list's data.</summary>
    public JsonElement List() => JsonDocument.Parse(Do("list", "--json")).RootElement.GetProperty("result");

    /// <summary>One domain of the list.</summary>
    public JsonElement Domain(string name) => List().GetProperty("domains").EnumerateArray().Single(domain => domain.GetProperty("name").GetString() == name);

    /// <summary>Ends the run by destroying every domain.</summary>
    /// <returns>Its result.</returns>
    public JsonElement End(int code = ExitCode.Good)
    {
        _isOver = true;
        Do("destroy", "*", "--yes");
        Assert.That(_thread.Join(Hang.Limit), "the run goes on");
        Assert.That(_code, Is.EqualTo(code), _run.Error);
        return JsonDocument.Parse(_run.Out).RootElement;
    }

    public void Dispose()
    {
        if (!_isOver)
            _ = Ctl("destroy", "*", "--yes");
        _thread.Join(Hang.Limit);
        _run.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private static ControlledMachine Started(ControlledMachine machine)
    {
        bool answered = SpinWait.SpinUntil(() => !machine._thread.IsAlive || machine.Ctl("list").Code == 0, Hang.Limit);
        Assert.That(answered && machine._thread.IsAlive, $"the run does not answer: {machine._run.Error}");
        return machine;
    }
}
