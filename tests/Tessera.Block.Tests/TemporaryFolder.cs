namespace Tessera.Block.Tests;

/// <summary>A folder of a test's own, gone with it. On a real file system: direct I/O is not for every /tmp.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public TemporaryFolder()
    {
        Root = Path.Combine(TestContext.CurrentContext.WorkDirectory, $"disk-{Guid.NewGuid():N}");
        Directory.CreateDirectory(Root);
    }

    public string Root { get; }

    public string File(string name) => Path.Combine(Root, name);

    public void Dispose() => Directory.Delete(Root, recursive: true);
}
