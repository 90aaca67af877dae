using System.Runtime.ExceptionServices;
using NUnit.Framework;
using Tessera.Sdk.Cpu;

namespace Tessera.Sdk.Conformance;

/// <summary>What a check's result means for the test that ran it.</summary>
internal static class Verdict
{
    /// <summary>Fails the test if the check failed, and skips it if the plugin does not offer what the check is about.</summary>
    /// <param name="suite">The suite.</param>
    /// <param name="check">The check's name.</param>
    /// <param name="excuse">Why a check cannot be made, or null.</param>
    public static void On(ConformanceSuite suite, string check, Func<string, string?>? excuse = null)
    {
        CheckResult result;
        try
        {
            if (excuse?.Invoke(check) is { } reason)
                Assert.Ignore(reason);
            result = suite.RunCheck(check);
        }
        catch (EngineException exception)
        {
            Assert.Ignore(exception.Message);
            return;
        }

        // A fixture's own Assert.Ignore and the like.
        if (result.Exception is ResultStateException)
            ExceptionDispatchInfo.Throw(result.Exception);
        TestContext.Out.WriteLine(result.Outcome == CheckOutcome.NotDeclared && result.Detail.Length == 0 ? "not declared" : result.Detail);
        if (result.Outcome == CheckOutcome.NotDeclared && result.Detail.Length > 0)
            Assert.Ignore(result.Detail);
        if (result.Outcome != CheckOutcome.Failed)
            return;
        if (result.Scenario is not { } scenario)
        {
            Assert.Fail(result.Exception is { } exception ? $"{result.Detail}\n{exception.StackTrace}" : result.Detail);
            return;
        }

        string file = Path.Combine(TestContext.CurrentContext.WorkDirectory, $"{suite.Plugin}-{check}.scenario");
        File.WriteAllText(file, scenario.ToString());
        Assert.Fail($"{result.Detail}\nThe smallest scenario that shows it, also in {file}:\n{scenario}");
    }
}
