using Tessera.Images;
using Tessera.Lab.Folders;

namespace Tessera.Experiments.Planning;

/// <summary>Kernels read and unpacked once, however many domains boot them. For one thread.</summary>
public sealed class KernelFiles
{
    private readonly Dictionary<string, Task<KernelImage>> _begun = [];

    /// <summary>Begins one on another thread.</summary>
    public void Begin(string path)
    {
        if (!_begun.ContainsKey(path))
            _begun[path] = Task.Run(() => Load(path));
    }

    /// <summary>The kernel.</summary>
    /// <exception cref="ImageException">It is none that can run.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be read.</exception>
    public KernelImage Get(string path)
    {
        Begin(path);
        return _begun[path].GetAwaiter().GetResult();
    }

    private static KernelImage Load(string path) => KernelImage.Load(InputFile.Read(path, InputFile.MostImage), path);
}
