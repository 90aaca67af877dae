using System.Diagnostics;

namespace Tessera.Hosts.Tests;

/// <summary>
/// Tessera on a host of another kind than this one, which an emulator plays. It takes one CPU for some ten minutes; leave it out by
/// `--filter TestCategory!=EmulatedHost`.
/// </summary>
[Category("EmulatedHost")]
internal sealed class EmulatedHostTests
{
    private const int HostCannot = 3;

    [Test]
    public void On_a_host_with_VT_x_the_built_in_guests_run_an_attacker_dies_alone_and_Debian_boots()
    {
        (int code, string output, string errors) = Run(Path.Combine("bench", "hosts", "run"), "vtx", "--short");
        TestContext.Out.WriteLine(output);
        if (code == HostCannot)
            Assert.Ignore(errors.Trim());
        Assert.That(code, Is.Zero, $"{output}\n{errors}");
    }

    /// <summary>No time limit: the script itself sees when the machine says nothing any more, and it tells slow from stuck.</summary>
    private static (int Code, string Output, string Errors) Run(params string[] command)
    {
        try
        {
            using Process process = Process.Start(new ProcessStartInfo("python3", command) { WorkingDirectory = Root(), RedirectStandardOutput = true, RedirectStandardError = true })!;
            Task<string> errors = process.StandardError.ReadToEndAsync();
            string output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            return (process.ExitCode, output, errors.Result);
        }
        catch (System.ComponentModel.Win32Exception)
        {
            Assert.Ignore("python3 is not installed.");
            throw;
        }
    }

    private static string Root()
    {
        string? folder = AppContext.BaseDirectory;
        while (folder is not null && !File.Exists(Path.Combine(folder, "Tessera.slnx")))
            folder = Path.GetDirectoryName(folder);
        return folder ?? throw new InvalidOperationException($"Tessera.slnx is in no folder above {AppContext.BaseDirectory}.");
    }
}
