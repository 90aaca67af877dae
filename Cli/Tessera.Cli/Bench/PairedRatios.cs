namespace Tessera.Cli.Bench;

/// <summary>Ratios of paired measurements: their median, and a 95 % confidence interval of the median by the bootstrap.</summary>
/// <param name="Median">The median ratio.</param>
/// <param name="Low">Lower end of the interval.</param>
/// <param name="High">Upper end of the interval.</param>
/// <param name="Ratios">Every pair's ratio, in the order measured.</param>
internal sealed record PairedRatios(double Median, double Low, double High, IReadOnlyList<double> Ratios)
{
    private const int Resamples = 10_000;
    private const int Seed = 20031019; // any fixed number: the same data give the same interval

    /// <summary>Summarises pairs.</summary>
    public static PairedRatios Of(IReadOnlyList<double> ratios)
    {
        ArgumentOutOfRangeException.ThrowIfZero(ratios.Count, nameof(ratios));
        Random random = new(Seed);
        double[] medians = new double[Resamples];
        double[] sample = new double[ratios.Count];
        for (int resample = 0; resample < Resamples; resample++)
        {
            for (int index = 0; index < sample.Length; index++)
                sample[index] = ratios[random.Next(ratios.Count)];
            medians[resample] = MedianOf(sample);
        }

        Array.Sort(medians);
        return new PairedRatios(MedianOf([.. ratios]), medians[(int)(Resamples * 0.025)], medians[(int)(Resamples * 0.975)], ratios);
    }

    private static double MedianOf(double[] values)
    {
        Array.Sort(values);
        int middle = values.Length / 2;
        return values.Length % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
    }
}
