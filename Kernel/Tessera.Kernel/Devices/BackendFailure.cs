using System.Reflection;
using Tessera.Sdk.Plugins;

namespace Tessera.Kernel.Devices;

/// <summary>Words for backends that break their contract.</summary>
internal static class BackendFailure
{
    /// <summary>What is to be said of one that threw.</summary>
    /// <param name="backend">The backend.</param>
    /// <param name="exception">What it threw.</param>
    public static string Of(object backend, Exception exception) =>
        $"{NameOf(backend)}: the backend threw {exception.GetType().Name} where it must not ({exception.Message}), and gets nothing more.";

    /// <summary>What is to be said of one that does not come back from a call.</summary>
    /// <param name="backend">The backend.</param>
    public static string Hang(object backend) => $"{NameOf(backend)}: the backend does not come back from a call where it must not wait, and gets nothing more.";

    /// <summary>What a backend complains of; that it cannot even say so, when asking it throws.</summary>
    /// <param name="backend">The backend.</param>
    /// <param name="ask">Asks it.</param>
    public static string? Ask<T>(T backend, Func<T, string?> ask)
        where T : class
    {
        try
        {
            return ask(backend);
        }
        catch (Exception exception)
        {
            return $"{NameOf(backend)}: the backend threw {exception.GetType().Name} when it was asked how it is ({exception.Message}).";
        }
    }

    private static string NameOf(object backend) => backend.GetType().GetCustomAttribute<PluginAttribute>()?.Name ?? backend.GetType().Name;
}
