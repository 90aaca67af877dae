namespace Tessera.Lab.Statistics;

/// <summary>The standard normal distribution.</summary>
public static class Normal
{
    /// <summary>The part of the distribution up to a value; the error is below 1e-14.</summary>
    public static double Cumulative(double z)
    {
        if (z < -38)
            return 0;
        if (z > 38)
            return 1;
        double tail = Tail(Math.Abs(z));
        return z > 0 ? 1 - tail : tail;
    }

    /// <summary>The value that this part of the distribution lies below.</summary>
    /// <param name="part">Between 0 and 1, both excluded.</param>
    public static double Quantile(double part)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(part);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(part, 1);
        double low = -39;
        double high = 39;

        // Bisection needs no table of coefficients, and a few dozen steps cost nothing here.
        while (high - low > 1e-13)
        {
            double middle = (low + high) / 2;
            if (middle == low || middle == high)
                break;
            if (Cumulative(middle) < part)
                low = middle;
            else
                high = middle;
        }

        return (low + high) / 2;
    }

    /// <summary>The part above a value from 0 on: a series near the middle, a continued fraction (Laplace's) further out.</summary>
    private static double Tail(double z)
    {
        double density = Math.Exp(-z * z / 2) / Math.Sqrt(2 * Math.PI);
        if (z < 3)
        {
            double term = z;
            double sum = z;
            for (int index = 1; Math.Abs(term) > 1e-17 * sum; index++)
            {
                term *= z * z / ((2 * index) + 1);
                sum += term;
            }

            return 0.5 - (density * sum);
        }

        double fraction = z;
        for (int index = 120; index > 0; index--)
            fraction = z + (index / fraction);
        return density / fraction;
    }
}
