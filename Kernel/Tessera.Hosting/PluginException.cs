namespace Tessera.Hosting;

/// <summary>A plugin cannot be found, loaded, described or made. The message names the file or name and ends with the cure.</summary>
public sealed class PluginException : Exception
{
    /// <summary>Says what is wrong and what would be right.</summary>
    /// <param name="message">What is wrong, with the plugin's name or file.</param>
    /// <param name="cure">What the user or the plugin's author can do about it.</param>
    /// <param name="inner">What the plugin or the runtime threw, if anything.</param>
    public PluginException(string message, string cure, Exception? inner = null)
        : base($"{message} {cure}", inner)
    {
        Cure = cure;
    }

    /// <summary>What the user or the plugin's author can do about it.</summary>
    public string Cure { get; }
}
