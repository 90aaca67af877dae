using Tessera.Common;
using Tessera.Guests;
using Tessera.Hosting;
using Tessera.Sdk;
using Tessera.Sdk.Simulation;

namespace Tessera.Cli.Composition;

/// <summary>A workload by name and parameters, as `simulate --model` takes it: "web=queue gap=10ms service=2ms".</summary>
internal sealed class WorkloadModel
{
    private const string Known =
        "cpu; onoff burst=T pause=T [random]; periodic burst=T period=T [deadline=T]; queue gap=T service=T [fixed]; trace FILE [repeat]";

    /// <summary>CPU time until `hello` has powered off.</summary>
    private static readonly Nanoseconds HelloWork = Nanoseconds.FromMilliseconds(1);

    private readonly Func<SimulationRandom, Workload> _create;

    private WorkloadModel(string domain, Func<SimulationRandom, Workload> create) => (Domain, _create) = (domain, create);

    /// <summary>The domain's name, or the name of a configuration item of many.</summary>
    public string Domain { get; }

    /// <summary>A workload for one domain.</summary>
    public Workload Create(SimulationRandom random) => _create(random);

    /// <summary>The model of a built-in guest, or null when it has none.</summary>
    /// <param name="guest">The guest.</param>
    /// <param name="options">Its options.</param>
    /// <param name="beatWork">CPU time of one wake of `beat`: a trap or two and the guest's handler.</param>
    public static Workload? OfGuest(GuestKind guest, object? options, Nanoseconds beatWork) => guest switch
    {
        GuestKind.Spin => new CpuBoundWorkload(),
        GuestKind.Hello => new CpuBoundWorkload(HelloWork),
        GuestKind.Beat => new PeriodicWorkload(beatWork, ((BeatOptions)options!).Period, skipLate: true),
        GuestKind.Burst => Burst((BurstOptions)options!),
        _ => null,
    };

    /// <summary>Whether a built-in guest has a model.</summary>
    public static bool Has(GuestKind guest) => guest is GuestKind.Spin or GuestKind.Hello or GuestKind.Beat or GuestKind.Burst;

    /// <summary>Reads NAME=MODEL.</summary>
    /// <exception cref="UsageException">It is none.</exception>
    public static WorkloadModel Parse(string text)
    {
        int equals = text.IndexOf('=', StringComparison.Ordinal);
        string[] words = equals > 0 ? text[(equals + 1)..].Split(' ', StringSplitOptions.RemoveEmptyEntries) : [];
        if (words.Length == 0)
            throw new UsageException($"--model {text}: write NAME=MODEL with one of the models {Known}.");
        Arguments arguments = new(text, words);
        Func<SimulationRandom, Workload> create = words[0] switch
        {
            "cpu" => _ => new CpuBoundWorkload(),
            "onoff" => OnOff(arguments),
            "periodic" => Periodic(arguments),
            "queue" => Queue(arguments),
            "trace" => Trace(arguments),
            _ => throw arguments.Wrong($"there is no model {words[0]}"),
        };
        arguments.RequireAllUsed();
        return new(text[..equals], create);
    }

    private static BusyPeriodWorkload Burst(BurstOptions options) => new(new Nanoseconds(options.Period.Value / 100 * options.Duty), options.Period);

    private static Func<SimulationRandom, Workload> OnOff(Arguments arguments)
    {
        (Nanoseconds burst, Nanoseconds pause, bool random) = (arguments.Time("burst"), arguments.Time("pause"), arguments.Flag("random"));
        return numbers => new OnOffWorkload(burst, pause, random ? numbers : null);
    }

    private static Func<SimulationRandom, Workload> Periodic(Arguments arguments)
    {
        (Nanoseconds burst, Nanoseconds period) = (arguments.Time("burst"), arguments.Time("period"));
        Nanoseconds deadline = arguments.Time("deadline", period);
        return _ => new PeriodicWorkload(burst, period, deadline);
    }

    private static Func<SimulationRandom, Workload> Queue(Arguments arguments)
    {
        (Nanoseconds gap, Nanoseconds service, bool isFixed) = (arguments.Time("gap"), arguments.Time("service"), arguments.Flag("fixed"));
        return numbers => isFixed ? QueueWorkload.Fixed(gap, service) : QueueWorkload.Poisson(gap, service, numbers);
    }

    private static Func<SimulationRandom, Workload> Trace(Arguments arguments)
    {
        (string file, bool repeat) = (arguments.Word(), arguments.Flag("repeat"));
        try
        {
            OrdinaryFile.Check(file);
            TraceWorkload.Read(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or FormatException)
        {
            throw arguments.Wrong(e.Message);
        }

        return _ => TraceWorkload.Read(file, repeat);
    }

    /// <summary>The words after a model's name.</summary>
    private sealed class Arguments(string text, string[] words)
    {
        private readonly List<string> _left = [.. words.Skip(1)];

        public Nanoseconds Time(string name, Nanoseconds? otherwise = null)
        {
            string prefix = name + "=";
            int index = _left.FindIndex(word => word.StartsWith(prefix, StringComparison.Ordinal));
            if (index < 0)
                return otherwise ?? throw Wrong($"it needs {prefix}TIME");
            string value = _left[index][prefix.Length..];
            _left.RemoveAt(index);
            if (!NanosecondsText.TryParse(value, out Nanoseconds time, out string problem))
                throw Wrong($"{name}: {problem}");
            return time > Nanoseconds.Zero ? time : throw Wrong($"{name} must be more than zero");
        }

        public bool Flag(string name) => _left.Remove(name);

        public string Word()
        {
            if (_left.Count == 0)
                throw Wrong("it needs a file");
            string word = _left[0];
            _left.RemoveAt(0);
            return word;
        }

        public void RequireAllUsed()
        {
            if (_left.Count > 0)
                throw Wrong($"it has no parameter {_left[0]}");
        }

        public UsageException Wrong(string what) => new($"--model {text}: {what}. The models: {Known}.");
    }
}
