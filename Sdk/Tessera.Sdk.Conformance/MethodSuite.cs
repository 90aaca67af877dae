using System.Reflection;

namespace Tessera.Sdk.Conformance;

/// <summary>
/// A suite whose checks are its methods: each that bears <see cref="CheckAttribute"/>, once for each <see cref="CaseAttribute"/>.
/// </summary>
public abstract class MethodSuite : ConformanceSuite
{
    private readonly IReadOnlyList<CheckMethod> _methods;
    private string _note = "";

    private protected MethodSuite(string plugin, TimeSpan hangLimit)
        : base(plugin, hangLimit) => _methods = CheckMethod.Of(GetType());

    /// <inheritdoc/>
    public override IReadOnlyList<CheckInfo> Checks => [.. _methods.Select(static method => method.Info)];

    private protected override CheckResult Carry(string name)
    {
        _note = "";
        try
        {
            _methods.First(method => method.Info.Name == name).Invoke(this);
            return new(name, CheckOutcome.Passed, _note);
        }
        catch (CheckFailedException failure)
        {
            return new(name, CheckOutcome.Failed, failure.Message);
        }
        catch (NotPromisedException reason)
        {
            return new(name, CheckOutcome.NotDeclared, reason.Message);
        }
    }

    /// <summary>Says what was found where the check passes.</summary>
    private protected void Note(string found) => _note = found;
}

/// <summary>Marks a method as a check; its name gives the check's.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class CheckAttribute(string summary) : Attribute
{
    /// <summary>What it checks, one sentence.</summary>
    public string Summary { get; } = summary;
}

/// <summary>Arguments for a check's method; each makes a check of its own.</summary>
[AttributeUsage(AttributeTargets.Method, AllowMultiple = true)]
internal sealed class CaseAttribute(params object[] arguments) : Attribute
{
    public object[] Arguments { get; } = arguments;
}

/// <summary>A check as found in a suite's class.</summary>
internal sealed record CheckMethod(CheckInfo Info, MethodInfo Method, object[] Arguments)
{
    private const BindingFlags All = BindingFlags.Instance | BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic;

    public static IReadOnlyList<CheckMethod> Of(Type suite) =>
    [
        .. from method in suite.GetMethods(All)
           let check = method.GetCustomAttribute<CheckAttribute>()
           where check is not null
           from arguments in method.GetCustomAttributes<CaseAttribute>().Select(static one => one.Arguments).DefaultIfEmpty([])
           select new CheckMethod(new(NameOf(method, arguments), check.Summary), method, arguments),
    ];

    /// <summary>Carries it out; what it throws comes through.</summary>
    public void Invoke(object suite) => Method.Invoke(suite, BindingFlags.DoNotWrapExceptions, null, Arguments, null);

    private static string NameOf(MethodInfo method, object[] arguments)
    {
        string name = method.Name.Replace('_', '-').ToLowerInvariant();
        return arguments.Length == 0 ? name : $"{name}({string.Join(", ", arguments)})";
    }
}
