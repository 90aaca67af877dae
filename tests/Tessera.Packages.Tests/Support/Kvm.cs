namespace Tessera.Packages.Tests.Support;

/// <summary>Whether tests may use the host's KVM.</summary>
internal static class Kvm
{
    /// <summary>Skips the test, saying why, when they may not.</summary>
    public static void Require()
    {
        string device = Environment.GetEnvironmentVariable("TESSERA_KVM_DEVICE") ?? "/dev/kvm";
        try
        {
            using FileStream opened = new(device, FileMode.Open, FileAccess.ReadWrite);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Assert.Ignore($"{device} cannot be used: {e.Message}");
        }
    }
}
