namespace Tessera.Sdk.Xen;

/// <summary>Sub-ops of <see cref="Hypercall.ConsoleIo"/>: rdi sub-op, rsi bytes, rdx buffer (CONSOLEIO_*).</summary>
public enum ConsoleIo
{
    Write = 0,
    Read = 1,
}
