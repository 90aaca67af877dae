using System.Reflection;
using System.Runtime.InteropServices;
using System.Runtime.Loader;
using Tessera.Images.Tests.Support;

namespace Tessera.Images.Tests;

[TestFixture]
internal sealed class MissingLibraryTests
{
    [TestCase("lz4", "liblz4-1")]
    [TestCase("zstd", "libzstd1")]
    [TestCase("xz", "liblzma5")]
    public void A_missing_library_is_an_error_that_names_its_package(string format, string package)
    {
        byte[] file = Packer.BzImage(Packer.Payload(format, ElfBuilder.Linux().Build()));
        // A second copy of the assembly, in which no native library resolves.
        AssemblyLoadContext context = new($"no {format}", isCollectible: true);
        Assembly images = context.LoadFromAssemblyPath(typeof(KernelImage).Assembly.Location);
        NativeLibrary.SetDllImportResolver(images, (name, _, _) => throw new DllNotFoundException($"{name}: not there"));
        MethodInfo load = images.GetType(typeof(KernelImage).FullName!)!.GetMethod(nameof(KernelImage.Load))!;

        Exception error = Assert.Throws<TargetInvocationException>(() => load.Invoke(null, [(ReadOnlyMemory<byte>)file, "vmlinuz"]))!.InnerException!;

        Assert.That(error.GetType().Name, Is.EqualTo(nameof(ImageException)));
        Assert.That(error.Message, Does.Contain($"apt-get install {package}").And.Contain(format));
        context.Unload();
    }
}
