namespace Tessera.Sdk.Cpu;

/// <summary>
/// Optional power of an <see cref="IGuestMachine"/> whose engine does not run every instruction itself: it names those that guests met and that raised an exception
/// for no other reason, so that a run can say so.
/// </summary>
/// <remarks>Any thread, also after the machine is disposed.</remarks>
public interface INamesUnknownCode
{
    /// <summary>What was met so far, in the order in which it was met first; bounded.</summary>
    IReadOnlyList<UnknownCode> UnknownCode { get; }
}

/// <summary>Code that an engine does not run.</summary>
/// <param name="What">The instruction's name, or another description, in printable ASCII.</param>
/// <param name="Bytes">Its bytes as they were first met, hexadecimal; empty where there are none to show.</param>
/// <param name="Count">How often it was met.</param>
public readonly record struct UnknownCode(string What, string Bytes, long Count);
