using System.Collections;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;

namespace Tessera.Sdk.Conformance;

/// <summary>
/// What a check demands. The words of a failure come from the code that asked, so that a report card shows what was looked at.
/// </summary>
internal static class Expect
{
    /// <summary>Arrays and tuples are compared by what they hold.</summary>
    public static void Equal<T>(T found, T wanted, string? because = null, [CallerArgumentExpression(nameof(found))] string what = "")
    {
        if (!StructuralComparisons.StructuralEqualityComparer.Equals(found, wanted))
            Fail($"{what} is {Show(found)}, not {Show(wanted)}{Because(because)}");
    }

    /// <summary>The same for lists.</summary>
    public static void EqualItems<T>(
        IEnumerable<T> found, IEnumerable<T> wanted, string? because = null, [CallerArgumentExpression(nameof(found))] string what = "") =>
        Equal(found.ToArray(), wanted.ToArray(), because, what);

    public static void True(
        [DoesNotReturnIf(false)] bool holds, string? because = null, [CallerArgumentExpression(nameof(holds))] string what = "")
    {
        if (!holds)
            Fail($"it does not hold that {what}{Because(because)}");
    }

    /// <summary>The exception that an action must throw.</summary>
    public static TException Throws<TException>(
        Action action, string? saying = null, [CallerArgumentExpression(nameof(action))] string what = "")
        where TException : Exception
    {
        try
        {
            action();
        }
        catch (TException exception) when (exception.GetType() == typeof(TException) || typeof(TException) == typeof(ArgumentException))
        {
            if (saying is not null && !exception.Message.Contains(saying, StringComparison.Ordinal))
                Fail($"{what} does not say \"{saying}\" but: {exception.Message}");
            return exception;
        }

        Fail($"{what} does not throw {typeof(TException).Name}");
        return null!;
    }

    /// <summary>
    /// An action allocates nothing on this thread. A collection that another thread brings about meanwhile counts what was left of this
    /// thread's allocation buffer, so that one round in several is enough.
    /// </summary>
    public static void AllocatesNothing(Action action, string? because = null)
    {
        long least = long.MaxValue;
        for (int round = 0; round < 5 && least > 0; round++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            action();
            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        if (least > 0)
            Fail($"{least} bytes were allocated{Because(because)}");
    }

    [DoesNotReturn]
    public static void Fail(string what) => throw new CheckFailedException(what);

    private static string Because(string? because) => string.IsNullOrEmpty(because) ? "" : $" ({because})";

    private static string Show(object? value) => value switch
    {
        null => "null",
        byte[] { Length: > 32 } bytes => $"{bytes.Length} bytes {Convert.ToHexStringLower(bytes.AsSpan(0, 32))}…",
        string text => $"\"{text}\"",
        ITuple tuple => $"({string.Join(", ", Enumerable.Range(0, tuple.Length).Select(index => Show(tuple[index])))})",
        IEnumerable items => $"[{string.Join(", ", items.Cast<object?>().Take(16).Select(Show))}]",
        ulong and > 0xffff => $"0x{value:x}",
        _ => value.ToString() ?? "",
    };
}

/// <summary>What a check demands does not hold.</summary>
/// <param name="message">What was found instead.</param>
public sealed class CheckFailedException(string message) : Exception(message);

/// <summary>The plugin does not offer what a check is about.</summary>
/// <param name="message">What is missing.</param>
public sealed class NotPromisedException(string message) : Exception(message);
