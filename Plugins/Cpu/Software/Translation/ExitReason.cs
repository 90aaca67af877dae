namespace Tessera.Plugins.Cpu.Software.Translation;

/// <summary>Why translated code came back.</summary>
internal enum ExitReason
{
    /// <summary>A jump inside the page whose target has not been translated, or not been linked: the argument is its link.</summary>
    Link,

    /// <summary>A jump whose target is not in the jump cache.</summary>
    Indirect,

    /// <summary>`syscall`.</summary>
    Syscall,

    /// <summary>An access that missed the TLB: the argument is its site.</summary>
    Miss,

    /// <summary>An instruction that is carried out in C#: the argument is its number.</summary>
    Helper,

    /// <summary>The budget is used up.</summary>
    Deadline,

    /// <summary>The host's processor faulted in translated code.</summary>
    Fault,

    /// <summary>One instruction, translated alone, has been carried out.</summary>
    Single,
}
