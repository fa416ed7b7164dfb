"""What was used and what it cost: sums by caller, model, group or label, shown, written or drawn. Changes nothing stored."""
