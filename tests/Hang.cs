namespace Tessera;

/// <summary>How long tests wait for what must come.</summary>
internal static class Hang
{
    /// <summary>Far more than a starved host needs: only what hangs takes so long, and no test of something that works is decided by it.</summary>
    public static readonly TimeSpan Limit = TimeSpan.FromMinutes(10);
}
